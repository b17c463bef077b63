"""What follows the products of one RG-LRU layer: its gates, the decay and the recurrence.

    r = sigmoid(r_t),  i = sigmoid(i_t),  log a = r k,  h_t = a h_{t-1} + sqrt(1 - a^2) i x_t

Source: De et al. 2024, arXiv:2402.19427, section 2.4; the decay in logarithms from appendix A. In C it is one pass over
time.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from rnnlab.ops import native
from rnnlab.ops.recurrence import full_precision, linear_recurrence

Backend = Literal["reference", "native"]
STEEPEST = 1000.0  # slope of the root of 1 - a^2 in the backward, which would be infinite at 0


def rg_lru_scan(projected: Tensor, x: Tensor, k: Tensor, h: Tensor, backend: Backend | None = None) -> Tensor:
    """Every h (T, B, D), in single precision at least, for the first h (B, D).

    Args:
        projected: (T, B, 2 D), the products of the gates of the recurrence and of the input.
        x: (T, B, D), the input that the recurrence takes in.
        k: (D,), below 0: the logarithm of the decay where its gate is 1.
        backend: forces one; None chooses.
    """
    if backend == "native" or (backend is None and native.serves(projected) and projected.dtype.itemsize <= 4):
        found: Tensor = _RGLRUScan.apply(projected.float(), x.float(), k.float(), h.float())  # type: ignore[no-untyped-call]
        return found
    return reference(projected, x, k, h)


def reference(projected: Tensor, x: Tensor, k: Tensor, h: Tensor) -> Tensor:
    """`rg_lru_scan` in plain torch."""
    recurrence, gate = torch.sigmoid(full_precision(projected)).chunk(2, dim=-1)
    log_decay = recurrence * full_precision(k)
    share = _root(-torch.expm1(2.0 * log_decay))
    return linear_recurrence(log_decay.exp(), share * (gate * x), full_precision(h))


def _root(x: Tensor) -> Tensor:
    """sqrt(x), with a slope of at most STEEPEST."""
    root = x.detach().sqrt()
    return root + (x - x.detach()) / (2.0 * root).clamp(min=1.0 / STEEPEST)


class _RGLRUScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: Tensor, x: Tensor, k: Tensor, h0: Tensor) -> Tensor:
        projected, x, k, h0 = (given.contiguous() for given in (projected, x, k, h0))
        gates, h = torch.empty_like(projected), torch.empty_like(x)
        native.run("rg_lru_forward", projected, x, k, h0, gates, h, *x.shape)
        ctx.save_for_backward(x, k, h0, gates, h)
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        x, k, h0, gates, h = ctx.saved_tensors
        grad_projected, grad_x = torch.empty_like(gates), torch.empty_like(x)
        grad_k, grad_h0 = torch.empty_like(h0), torch.empty_like(h0)
        known = x, k, h0, gates, h, grads[0].contiguous()
        native.run("rg_lru_backward", *known, grad_projected, grad_x, grad_k, grad_h0, *x.shape, STEEPEST)
        return grad_projected, grad_x, grad_k.sum(dim=0), grad_h0

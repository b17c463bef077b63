"""What follows the products of one minGRU layer: the gate and the recurrence.

    z = sigmoid(u_t),  h_t = (1 - z) h_{t-1} + z n_t

Source: Feng et al. 2024, arXiv:2410.01201, section 3.1. In C it is one pass over time.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from rnnlab.ops import native
from rnnlab.ops.recurrence import full_precision, linear_recurrence

Backend = Literal["reference", "native"]


def min_gru_scan(projected: Tensor, h: Tensor, backend: Backend | None = None) -> Tensor:
    """Every h (T, B, D), in single precision at least, for the first h (B, D).

    Args:
        projected: (T, B, 2 D), the products of n and of u.
        backend: forces one; None chooses.
    """
    if backend == "native" or (backend is None and native.serves(projected) and projected.dtype.itemsize <= 4):
        found: Tensor = _MinGRUScan.apply(projected.float(), h.float())  # type: ignore[no-untyped-call]
        return found
    return reference(projected, h)


def reference(projected: Tensor, h: Tensor) -> Tensor:
    """`min_gru_scan` in plain torch."""
    candidate, update = full_precision(projected).chunk(2, dim=-1)
    candidate = candidate.contiguous()  # kept for the backward, where a view would keep all of `projected`
    return linear_recurrence(torch.sigmoid(-update), torch.sigmoid(update) * candidate, full_precision(h))


class _MinGRUScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: Tensor, h0: Tensor) -> Tensor:
        projected, h0 = projected.contiguous(), h0.contiguous()
        ctx.sizes = *projected.shape[:2], h0.shape[1]
        z, h = projected.new_empty(2, *ctx.sizes).unbind()
        native.run("min_gru_forward", projected, h0, z, h, *ctx.sizes)
        ctx.save_for_backward(projected, h0, z, h)
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        projected, h0, z, h = ctx.saved_tensors
        grad_projected, grad_h0 = torch.empty_like(projected), torch.empty_like(h0)
        native.run("min_gru_backward", projected, h0, z, h, grads[0].contiguous(), grad_projected, grad_h0, *ctx.sizes)
        return grad_projected, grad_h0

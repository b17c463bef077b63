"""What follows the products of one SRU layer: its gates, the recurrence and the highway.

    w = sigmoid(-f_t),  c_t = (1 - w) c_{t-1} + w z_t      w = 1 - f, exact where f is near 1
    r = sigmoid(r_t + v c_{t-1}),  y_t = r c_t + (1 - r) sqrt(3) x_t

Source: Lei et al. 2018, arXiv:1709.02755, section 3. In C it is one pass over time.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from rnnlab.ops import native
from rnnlab.ops.recurrence import full_precision, linear_recurrence

Backend = Literal["reference", "native"]
ALPHA = math.sqrt(3)


def sru_scan(
    projected: Tensor, x: Tensor, v: Tensor, c: Tensor, backend: Backend | None = None
) -> tuple[Tensor, Tensor]:
    """y (T, B, D) and the last c (B, D), in single precision at least, for the first c (B, D).

    Args:
        projected: (T, B, 3 D), the products of the candidate z, of the forget gate f and of the reset gate r.
        x: (T, B, D), what the highway passes on.
        v: (D,), by which the reset gate sees the cell.
        backend: forces one; None chooses.
    """
    if backend == "native" or (backend is None and native.serves(projected) and projected.dtype.itemsize <= 4):
        return _SRUScan.apply(projected.float(), x.float(), v.float(), c.float())  # type: ignore[no-untyped-call, no-any-return]
    return reference(projected, x, v, c)


def reference(projected: Tensor, x: Tensor, v: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """`sru_scan` in plain torch."""
    candidate, forget, reset = full_precision(projected).chunk(3, dim=-1)
    first, write = full_precision(c), torch.sigmoid(-forget)
    candidate = candidate.contiguous()  # kept for the backward, where a view would keep all of `projected`
    cells = linear_recurrence(1.0 - write, write * candidate, first)
    gate = torch.sigmoid(reset + v * torch.cat([first.unsqueeze(0), cells[:-1]]))
    return gate * cells + (1.0 - gate) * (ALPHA * x), cells[-1]


class _SRUScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: Tensor, x: Tensor, v: Tensor, c0: Tensor) -> tuple[Tensor, Tensor]:
        projected, x, v, c0 = (given.contiguous() for given in (projected, x, v, c0))
        ctx.sizes = *x.shape, ALPHA
        gates, (y, c) = x.new_empty(*x.shape[:2], 2 * x.shape[2]), x.new_empty(2, *x.shape).unbind()
        native.run("sru_forward", projected, x, v, c0, gates, y, c, *ctx.sizes)
        ctx.save_for_backward(projected, x, v, c0, gates, c)
        return y, c[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        projected, x, v, c0, gates, c = ctx.saved_tensors
        grad_projected, grad_x, grad_v = torch.empty_like(projected), torch.empty_like(x), torch.empty_like(c0)
        grad_c = grads[1].clone(memory_format=torch.contiguous_format)
        known = projected, x, v, c0, gates, c, grads[0].contiguous()
        native.run("sru_backward", *known, grad_projected, grad_x, grad_v, grad_c, *ctx.sizes)
        return grad_projected, grad_x, grad_v.sum(dim=0), grad_c

"""Boom on the CPU: activation, dropout and the sum over chunks in one pass over the F values, and one back."""

from typing import Any

import torch
from torch import Tensor

from rnnlab import native
from rnnlab.dropout import draw_key, kernel_arguments, lane_offset


def serves(u: Tensor) -> bool:
    """Whether the compiled pass can take the place of torch's operations for this input."""
    return (
        u.device.type == "cpu"
        and u.dtype in (torch.float32, torch.bfloat16)
        and not torch.compiler.is_compiling()
        and native.kernels() is not None
    )


def activate_and_sum(u: Tensor, dim: int, p: float) -> Tensor:
    """u (T, B, F) -> dropout(gelu(u)) summed over its chunks, (T, B, D), all in fp32 inside; p = 0 outside training."""
    y: Tensor = _ActivateAndSum.apply(u.float(), dim, p, draw_key() if p else 0, lane_offset())  # type: ignore[no-untyped-call]
    return y.to(u.dtype)


class _ActivateAndSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, dim: int, p: float, key: int, offset: int) -> Tensor:
        u = u.contiguous()
        ctx.sizes = (*u.shape, dim)
        ctx.drop = kernel_arguments(p, key, offset, lane_dim=1)
        ctx.save_for_backward(u)
        y = u.new_empty(*u.shape[:2], dim)
        native.run("boom_forward", u, y, *ctx.sizes, *ctx.drop)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (u,) = ctx.saved_tensors
        grad_u = torch.empty_like(u)
        native.run("boom_backward", u, grads[0].contiguous(), grad_u, *ctx.sizes, *ctx.drop)
        return grad_u, None, None, None, None

"""Boom on the CPU: bias, activation, dropout and the sum over chunks in one pass over the F values, and one back."""

from typing import Any

import torch
from torch import Tensor

from rnnlab import native
from rnnlab.dropout import batch_offset, draw_key, kernel_arguments

FEW = 8  # positions for which reading the weights costs more than multiplying with them


def serves(x: Tensor, weight: Tensor) -> bool:
    """Whether the compiled layer can take the place of torch's operations for this input."""
    return native.serves(x) and weight.dtype in (x.dtype, torch.float32)


def boom(x: Tensor, weight: Tensor, bias: Tensor, p: float) -> Tensor:
    """x (T, B, D) -> dropout(gelu(W x + b)) summed over its chunks, (T, B, D).

    Under autocast the product is computed in bfloat16; what follows is fp32 inside. p = 0 outside training.
    """
    dtype = native.product_dtype(x)
    if len(x) * x.shape[1] <= FEW and dtype == weight.dtype == torch.float32 and not (p or torch.is_grad_enabled()):
        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        sizes = (len(x) * x.shape[1], *weight.shape)
        native.run("boom_step", x.contiguous(), weight.contiguous(), bias, y, *sizes)
        return y
    drop = kernel_arguments(p, draw_key() if p else 0, batch_offset(), batch_dim=1)
    return _Boom.apply(x, weight, bias, dtype, drop)  # type: ignore[no-any-return, no-untyped-call]


class _Boom(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype, drop: tuple[int, int, int, float]
    ) -> Tensor:
        ctx.x_dtype, ctx.bias_dtype, ctx.drop = x.dtype, bias.dtype, drop
        ctx.sizes = (*x.shape[:2], len(weight), x.shape[2], dtype.itemsize == 2)  # T, B, F, D, half
        x, weight, bias = x.reshape(-1, x.shape[2]).to(dtype), weight.to(dtype), bias.float()
        u, y = torch.mm(x, weight.T), torch.empty(ctx.sizes[0], ctx.sizes[1], ctx.sizes[3])
        native.run("boom_forward", u, bias, y, *ctx.sizes, *drop)
        ctx.save_for_backward(x, weight, bias, u)
        return y.to(ctx.x_dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, u = ctx.saved_tensors
        grad_u, grad_y = torch.empty_like(u), grads[0].float().contiguous()
        native.run("boom_backward", u, bias, grad_y, grad_u, *ctx.sizes, *ctx.drop)
        grad_x = torch.mm(grad_u, weight).view(grad_y.shape).to(ctx.x_dtype)
        grad_bias = grad_u.sum(dim=0, dtype=torch.float32).to(ctx.bias_dtype)
        return grad_x, torch.mm(grad_u.T, x).to(ctx.bias_dtype), grad_bias, None, None

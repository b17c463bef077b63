"""The Boom layer: up to F values, an activation and dropout on them, and the sum over chunks of D.

    u = dropout(gelu(W x + b)),  y = u[0:D] + u[D:2D] + ... + u[F-D:F]

Source: Merity 2019, arXiv:1911.11423, section 4. In C bias, activation, dropout and sum are one pass over the F values,
and one back.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.ops import native
from rnnlab.ops.dropout import batch_offset, draw_key, dropout, kernel_arguments
from rnnlab.ops.gelu import gelu

Backend = Literal["reference", "native"]

FEW = 16  # positions for which reading the weights costs more than multiplying with them


def boom_layer(x: Tensor, weight: Tensor, bias: Tensor, p: float = 0.0, backend: Backend | None = None) -> Tensor:
    """y (T, B, D) for x (T, B, D), weight (F, D), bias (F).

    Under autocast the product is computed in autocast's dtype; in C what follows is fp32 inside.

    Args:
        p: chance that one of the F values is dropped [probability], in [0, 1); 0 outside training.
        backend: forces one; None chooses.
    """
    if backend == "native" or (backend is None and native.serves(x) and weight.dtype in (x.dtype, torch.float32)):
        return _native(x, weight, bias, p)
    return reference(x, weight, bias, p)


def reference(x: Tensor, weight: Tensor, bias: Tensor, p: float = 0.0) -> Tensor:
    """`boom_layer` in plain torch."""
    u = dropout(gelu(F.linear(x, weight, bias)), p, p > 0.0)  # (T, B, F)
    y: Tensor = u.unflatten(-1, (-1, x.shape[-1])).sum(dim=-2)  # type: ignore[no-untyped-call]
    return y


def _native(x: Tensor, weight: Tensor, bias: Tensor, p: float) -> Tensor:
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

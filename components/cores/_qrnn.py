"""A QRNN layer on the CPU: one product for its three gates, and one pass over time for all that follows."""

from typing import Any

import torch
from torch import Tensor

from rnnlab import native


def serves(x: Tensor, weight: Tensor) -> bool:
    """Whether the compiled layer can take the place of torch's operations for this input."""
    return native.serves(x) and weight.dtype == torch.float32


def qrnn(x: Tensor, weight: Tensor, bias: Tensor, c: Tensor, keep: float) -> tuple[Tensor, Tensor]:
    """The layer in fp32; under autocast its product is computed in that dtype.

    Args:
        x: (T, B, width D), what the convolution sees at each position.
        weight, bias: (3 D, width D) and (3 D): candidate, forget, output.
        c: (B, D).
        keep: what every write is multiplied with.
    Returns: y (T, B, D), and the last c (B, D).
    """
    answer: tuple[Tensor, Tensor] = _QRNNLayer.apply(x, weight, bias, c, keep, native.product_dtype(x))  # type: ignore[no-untyped-call]
    return answer


class _QRNNLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, c0: Tensor, keep: float, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        ctx.sizes, ctx.x_shape, ctx.x_dtype = (*x.shape[:2], c0.shape[1], keep), x.shape, x.dtype
        x, weight, c0 = x.reshape(-1, x.shape[2]).to(dtype), weight.to(dtype), c0.contiguous()
        gates = torch.mm(x, weight.T).float()  # (T B, 3 D): the kernel leaves the gates' values in it
        y, c = gates.new_empty(2, *ctx.sizes[:3]).unbind()
        native.run("qrnn_forward", gates, bias, c0, y, c, *ctx.sizes)
        ctx.save_for_backward(x, weight, gates, c0, c)
        return y, c[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, gates, c0, c = ctx.saved_tensors
        grad_gates, grad_c = torch.empty_like(gates), grads[1].clone()
        native.run("qrnn_backward", gates, c0, c, grads[0].contiguous(), grad_gates, grad_c, *ctx.sizes)
        grad_bias = grad_gates.sum(dim=0)
        grad_gates = grad_gates.to(x.dtype)
        grad_x = torch.mm(grad_gates, weight).view(ctx.x_shape).to(ctx.x_dtype)
        return grad_x, torch.mm(grad_gates.T, x).float(), grad_bias, grad_c, None, None

"""An LSTM layer on the CPU: its sequential half in one compiled call, the products over all positions in torch.

torch's own LSTM starts a matrix product and a dozen small operations at every position, forward and backward; for the
widths and sequences of a recurrent language model those starts cost more than the arithmetic.
"""

from typing import Any

import torch
from torch import Tensor

from rnnlab import native

PACKED_TO = 32  # the kernels pad the width to a multiple of this
PRODUCTS = (torch.float32, torch.bfloat16, torch.float16)


def serves(x: Tensor, weights: list[Tensor]) -> bool:
    """Whether the compiled layer can take the place of torch's for this input."""
    return native.serves(x, PRODUCTS) and all(weight.dtype == torch.float32 for weight in weights)


def lstm(x: Tensor, weights: list[Tensor], h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What `torch.lstm` gives for one layer, in fp32; under autocast its products are computed in that dtype.

    Args:
        x: (T, B, D).
        weights: W (4 D, D), U (4 D, D), and their biases (4 D), as nn.LSTM holds them.
        h, c: (B, D).
    Returns: y (T, B, D), and the last h and c (B, D).
    """
    w, u, w_bias, u_bias = weights
    if len(x) == 1 and native.product_dtype(x) == torch.float32 and not torch.is_grad_enabled():
        return _step(x, weights, h, c)
    y, last_c = _LSTMLayer.apply(x, w, u, w_bias + u_bias, h, c, native.product_dtype(x))  # type: ignore[no-untyped-call]
    return y, y[-1], last_c


def _step(x: Tensor, weights: list[Tensor], h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One position: every weight is read once, where it lies."""
    y, next_c = torch.empty_like(h), torch.empty_like(c)
    arguments = (x.contiguous(), *(weight.contiguous() for weight in weights), h.contiguous(), c.contiguous())
    native.run("lstm_step", *arguments, y, next_c, *h.shape)
    return y.unsqueeze(0), y, next_c


class _LSTMLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, u: Tensor, bias: Tensor, h0: Tensor, c0: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        steps, batch, dim = x.shape
        ctx.x_dtype, x, w = x.dtype, x.reshape(-1, dim).to(dtype), w.to(dtype)
        gates = torch.mm(x, w.T).float()  # (T B, 4 D): the kernel leaves the gates' values in it
        u, h0, c0 = u.contiguous(), h0.contiguous(), c0.contiguous()
        y, c = gates.new_empty(2, steps, batch, dim).unbind()
        native.run("lstm_forward", gates, bias, u, h0, c0, y, c, _room(u), steps, batch, dim, dtype == torch.bfloat16)
        ctx.save_for_backward(x, w, gates, u, h0, c0, y, c)
        return y, c[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_y, grad_last_c = grads
        x, w, gates, u, h0, c0, y, c = ctx.saved_tensors
        steps, batch, dim = y.shape
        grad_gates, grad_h, grad_c = torch.empty_like(gates), torch.zeros_like(h0), grad_last_c.clone()
        arguments = (gates, u, c0, c, grad_y.contiguous(), grad_gates, grad_h, grad_c, _room(u))
        native.run("lstm_backward", *arguments, steps, batch, dim, x.dtype == torch.bfloat16)
        grad_bias = grad_gates.sum(dim=0)
        grad_gates = grad_gates.to(x.dtype)
        grad_u = torch.mm(grad_gates[:batch].T, h0.to(x.dtype)).float()
        if steps > 1:
            grad_u += torch.mm(grad_gates[batch:].T, y[:-1].flatten(0, 1).to(x.dtype))
        grad_x = torch.mm(grad_gates, w).view(y.shape).to(ctx.x_dtype)
        return grad_x, torch.mm(grad_gates.T, x).float(), grad_u, grad_bias, grad_h, grad_c, None


def _room(u: Tensor) -> Tensor:
    dim = u.shape[1]
    return u.new_empty(4 * dim * (-(-dim // PACKED_TO) * PACKED_TO))

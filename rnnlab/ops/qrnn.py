"""One QRNN layer over a chunk: three gates of the input, fo-pooling along time, zoneout.

    z = tanh(W_z x),  w = sigmoid(-W_f x),  o = sigmoid(W_o x)      w = 1 - f, exact where f is near 1
    c_t = (1 - w_t) c_{t-1} + w_t z_t,  h_t = o_t c_t

Source: Bradbury et al. 2016, arXiv:1611.01576, section 2; zoneout in section 2.1. In C one product serves the three
gates, and all that follows it is one pass over time.
"""

from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.ops import native
from rnnlab.ops.dropout import dropout
from rnnlab.ops.recurrence import full_precision, linear_recurrence

Backend = Literal["reference", "native"]


class Gates(NamedTuple):
    """Weight (D, E) and bias (D) of each gate, over an input of width E."""

    candidate: tuple[Tensor, Tensor]
    forget: tuple[Tensor, Tensor]
    output: tuple[Tensor, Tensor]


def qrnn_layer(
    x: Tensor, gates: Gates, c: Tensor, zoneout: float = 0.0, training: bool = False, backend: Backend | None = None
) -> tuple[Tensor, Tensor]:
    """y (T, B, D) in the dtype of the products, and the last c (B, D) in its own, for the first c (B, D).

    Args:
        x: (T, B, E), what the convolution sees at each position.
        zoneout: chance in training that a channel keeps its cell for a position; after it the expected share does.
        backend: forces one; None chooses. There is none in C for zoneout in training.
    """
    noisy = training and zoneout > 0.0
    serves = native.serves(x) and gates.candidate[0].dtype == torch.float32 and not noisy
    if backend == "native" or (backend is None and serves):
        weight, bias = (torch.cat(parts) for parts in zip(*gates, strict=True))
        y, last = _QRNNLayer.apply(x, weight, bias, c.float(), 1.0 - zoneout, native.product_dtype(x))  # type: ignore[no-untyped-call]
        return y.to(x.dtype), last.to(c.dtype)
    return reference(x, gates, c, zoneout, training)


def reference(
    x: Tensor, gates: Gates, c: Tensor, zoneout: float = 0.0, training: bool = False
) -> tuple[Tensor, Tensor]:
    """`qrnn_layer` in plain torch."""
    candidate = torch.tanh(full_precision(F.linear(x, *gates.candidate)))
    write = torch.sigmoid(-full_precision(F.linear(x, *gates.forget)))
    if zoneout:
        write = dropout(write, zoneout, training) * (1.0 - zoneout)  # zoneout does not rescale
    output = torch.sigmoid(F.linear(x, *gates.output))
    cells = linear_recurrence(1.0 - write, write * candidate, full_precision(c))
    return output * cells.to(output.dtype), cells[-1].to(c.dtype, copy=True)


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

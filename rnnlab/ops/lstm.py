"""One LSTM layer over a chunk.

    i, f, o = sigmoid(W x_t + U h_{t-1} + b),  g = tanh(W_g x_t + U_g h_{t-1} + b_g)
    c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)

Source: Hochreiter & Schmidhuber 1997 with the forget gate of Gers 2000. torch starts a matrix product and a dozen small
operations at every position, forward and backward; for the widths and batches of a recurrent language model those
starts cost more than the arithmetic. In C the sequential half is one call, and torch multiplies over all positions.
"""

from contextlib import nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.ops import cudnn, native

Backend = Literal["reference", "torch", "native"]
Result = tuple[Tensor, Tensor, Tensor]

PRODUCTS = (torch.float32, torch.bfloat16, torch.float16)  # the dtypes in which the C layer multiplies


def lstm_layer(x: Tensor, weights: list[Tensor], h: Tensor, c: Tensor, backend: Backend | None = None) -> Result:
    """y (T, B, D), and the last h and c (B, D) in the dtypes of the first ones, for x (T, B, D) and h, c (B, D).

    In fp32 throughout; under autocast its products are computed in autocast's dtype where the backend can, and on a GPU
    in float16.

    Args:
        weights: W (4 D, D), U (4 D, D), and their biases (4 D), as nn.LSTM holds them: i, f, g, o.
        backend: forces one; None chooses.
    """
    if backend is None:
        compiled = native.serves(x, PRODUCTS) and all(weight.dtype == torch.float32 for weight in weights)
        backend = "native" if compiled else "torch"
    if backend == "native":
        y, last_h, last_c = _native(x, weights, h.float(), c.float())
    elif backend == "reference":
        y, last_h, last_c = reference(x, weights, h, c)
    else:
        y, last_h, last_c = _torch(x, weights, h, c)
    return y, last_h.to(h.dtype), last_c.to(c.dtype)


def reference(x: Tensor, weights: list[Tensor], h: Tensor, c: Tensor) -> Result:
    """`lstm_layer` in plain torch, a position at a time."""
    w, u, w_bias, u_bias = weights
    rows = []
    for x_t in x.unbind():
        i, f, g, o = (F.linear(x_t, w, w_bias) + F.linear(h, u, u_bias)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        rows.append(h)
    return torch.stack(rows), h, c


def forget_gate(x: Tensor, y: Tensor, weights: list[Tensor], h: Tensor) -> Tensor:
    """f (T, B, D) of a layer that gave y for x and the first h."""
    dim = h.shape[-1]
    w, u, w_bias, u_bias = (weight[dim : 2 * dim] for weight in weights)
    before = torch.cat([h.unsqueeze(0), y[:-1]])  # h_{t-1}
    return torch.sigmoid(F.linear(x, w, w_bias) + F.linear(before, u, u_bias))


def _torch(x: Tensor, weights: list[Tensor], h: Tensor, c: Tensor) -> Result:
    if cudnn.serves(x):
        y, h, c = cudnn.run_layer(_by_torch, x, weights, [h, c])
        return y, h, c
    # On the CPU torch has no LSTM under autocast to float16, and one to bfloat16 that is slower than in fp32.
    lowered = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    with torch.autocast("cpu", enabled=False) if lowered else nullcontext():
        x = x.float() if lowered else x
        return _by_torch(x, weights, [h.to(x.dtype), c.to(x.dtype)])


def _by_torch(x: Tensor, weights: list[Tensor], states: list[Tensor]) -> Result:
    training = torch.is_grad_enabled()  # cuDNN keeps what a backward needs only if it is told so
    y, h, c = torch.lstm(x, [state.unsqueeze(0) for state in states], weights, True, 1, 0.0, training, False, False)
    return y, h.squeeze(0), c.squeeze(0)


def _native(x: Tensor, weights: list[Tensor], h: Tensor, c: Tensor) -> Result:
    w, u, w_bias, u_bias = weights
    if len(x) == 1 and native.product_dtype(x) == torch.float32 and not torch.is_grad_enabled():
        y, next_c = torch.empty_like(h), torch.empty_like(c)  # every weight is read once, where it lies
        native.run("lstm_step", *(tensor.contiguous() for tensor in (x, *weights, h, c)), y, next_c, *h.shape)
        return y.unsqueeze(0), y, next_c
    y, last_c = _LSTMLayer.apply(x, w, u, w_bias + u_bias, h, c, native.product_dtype(x))  # type: ignore[no-untyped-call]
    return y, y[-1], last_c


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
        arguments = (gates, bias, u, h0, c0, y, c, native.packed_room(u))
        native.run("lstm_forward", *arguments, steps, batch, dim, dtype == torch.bfloat16)
        ctx.save_for_backward(x, w, gates, u, h0, c0, y, c)
        return y, c[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_y, grad_last_c = grads
        x, w, gates, u, h0, c0, y, c = ctx.saved_tensors
        steps, batch, dim = y.shape
        grad_gates, grad_h, grad_c = torch.empty_like(gates), torch.zeros_like(h0), grad_last_c.clone()
        arguments = (gates, u, c0, c, grad_y.contiguous(), grad_gates, grad_h, grad_c, native.packed_room(u))
        native.run("lstm_backward", *arguments, steps, batch, dim, x.dtype == torch.bfloat16)
        grad_bias = grad_gates.sum(dim=0)
        grad_gates = grad_gates.to(x.dtype)
        grad_u = torch.mm(grad_gates[:batch].T, h0.to(x.dtype)).float()
        if steps > 1:
            grad_u += torch.mm(grad_gates[batch:].T, y[:-1].flatten(0, 1).to(x.dtype))
        grad_x = torch.mm(grad_gates, w).view(y.shape).to(ctx.x_dtype)
        return grad_x, torch.mm(grad_gates.T, x).float(), grad_u, grad_bias, grad_h, grad_c, None

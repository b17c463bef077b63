"""One GRU layer over a chunk.

    r, z = sigmoid(W x_t + U h_{t-1} + b),  n = tanh(W_n x_t + b_n + r (U_n h_{t-1} + b_u))
    h_t = z h_{t-1} + (1 - z) n

Source: Cho et al. 2014, arXiv:1406.1078, section 2.3, with the reset gate behind the product, as in torch and cuDNN. In
C the sequential half is one call, as for the LSTM, and torch multiplies over all positions.
"""

from contextlib import nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.ops import cudnn, native
from rnnlab.ops.lstm import PRODUCTS, forget_gate

Backend = Literal["reference", "torch", "native"]
Result = tuple[Tensor, Tensor]


def gru_layer(x: Tensor, weights: list[Tensor], h: Tensor, backend: Backend | None = None) -> Result:
    """y (T, B, D), and the last h (B, D) in the dtype of the first one, for x (T, B, D) and h (B, D).

    In fp32 throughout; under autocast its products are computed in autocast's dtype where the backend can, and on a GPU
    in float16.

    Args:
        weights: W (3 D, D), U (3 D, D), and their biases (3 D), as nn.GRU holds them: r, z, n.
        backend: forces one; None chooses.
    """
    if backend is None:
        compiled = native.serves(x, PRODUCTS) and all(weight.dtype == torch.float32 for weight in weights)
        backend = "native" if compiled else "torch"
    if backend == "native":
        y, last = _native(x, weights, h.float())
    elif backend == "reference":
        y, last = reference(x, weights, h)
    else:
        y, last = _torch(x, weights, h)
    return y, last.to(h.dtype)


def reference(x: Tensor, weights: list[Tensor], h: Tensor) -> Result:
    """`gru_layer` in plain torch, a position at a time."""
    w, u, w_bias, u_bias = weights
    rows = []
    for x_t in x.unbind():
        of_x, of_h = F.linear(x_t, w, w_bias).chunk(3, dim=-1), F.linear(h, u, u_bias).chunk(3, dim=-1)
        r, z = torch.sigmoid(of_x[0] + of_h[0]), torch.sigmoid(of_x[1] + of_h[1])
        n = torch.tanh(of_x[2] + r * of_h[2])
        h = z * h + (1.0 - z) * n
        rows.append(h)
    return torch.stack(rows), h


update_gate = forget_gate
"""z (T, B, D): the second of the gates too, and computed by the same equation."""


def _torch(x: Tensor, weights: list[Tensor], h: Tensor) -> Result:
    if cudnn.serves(x):
        y, last = cudnn.run_layer(_by_torch, x, weights, [h])
        return y, last
    with torch.autocast(x.device.type, enabled=False) if x.device.type == "cpu" else nullcontext():
        # torch's loop on the CPU would round h at every step
        y, last = _by_torch(x.to(weights[0].dtype), weights, [h.to(weights[0].dtype)])
    return y.to(x.dtype), last


def _by_torch(x: Tensor, weights: list[Tensor], states: list[Tensor]) -> Result:
    training = torch.is_grad_enabled()  # cuDNN keeps what a backward needs only if it is told so
    y, last = torch.gru(x, states[0].unsqueeze(0), weights, True, 1, 0.0, training, False, False)
    return y, last.squeeze(0)


def _native(x: Tensor, weights: list[Tensor], h: Tensor) -> Result:
    w, u, w_bias, u_bias = weights
    if len(x) == 1 and native.product_dtype(x) == torch.float32 and not torch.is_grad_enabled():
        y = torch.empty_like(h)
        native.run("gru_step", *(tensor.contiguous() for tensor in (x, *weights, h)), y, *h.shape)
        return y.unsqueeze(0), y
    y = _GRULayer.apply(x, w, u, w_bias, u_bias, h, native.product_dtype(x))  # type: ignore[no-untyped-call]
    return y, y[-1]


class _GRULayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, u: Tensor, w_bias: Tensor, u_bias: Tensor, h0: Tensor, dtype: torch.dtype
    ) -> Tensor:
        steps, batch, dim = x.shape
        ctx.x_dtype, x, w = x.dtype, x.reshape(-1, dim).to(dtype), w.to(dtype)
        gates = torch.mm(x, w.T).float()  # (T B, 3 D): the kernel leaves the gates' values in it
        both = w_bias + u_bias
        bias = torch.cat([both[: 2 * dim], w_bias[2 * dim :], u_bias[2 * dim :]])
        u, h0 = u.contiguous(), h0.contiguous()
        inner, y = gates.new_empty(2, steps, batch, dim).unbind()
        arguments = (gates, bias, u, h0, inner, y, native.packed_room(u))
        native.run("gru_forward", *arguments, steps, batch, dim, dtype == torch.bfloat16)
        ctx.save_for_backward(x, w, gates, u, h0, inner, y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, w, gates, u, h0, inner, y = ctx.saved_tensors
        steps, batch, dim = y.shape
        of_x, of_h, grad_h = torch.empty_like(gates), torch.empty_like(gates), torch.zeros_like(h0)
        arguments = (gates, u, h0, inner, y, grads[0].contiguous(), of_x, of_h, grad_h, native.packed_room(u))
        native.run("gru_backward", *arguments, steps, batch, dim, x.dtype == torch.bfloat16)
        w_bias, u_bias = of_x.sum(dim=0), of_h.sum(dim=0)
        of_x, of_h = of_x.to(x.dtype), of_h.to(x.dtype)
        grad_u = torch.mm(of_h[:batch].T, h0.to(x.dtype)).float()
        if steps > 1:
            grad_u += torch.mm(of_h[batch:].T, y[:-1].flatten(0, 1).to(x.dtype))
        grad_x = torch.mm(of_x, w).view(y.shape).to(ctx.x_dtype)
        return grad_x, torch.mm(of_x.T, x).float(), grad_u, w_bias, u_bias, grad_h, None

"""The LSTM's recurrence on the CPU: its sequential half in one compiled call, the products over all positions in torch.

torch's own LSTM starts a matrix product and a dozen small operations at every position, forward and backward; for the
widths and lanes of a recurrent language model those starts cost more than the arithmetic.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab import native

PACKED_TO = 32  # the kernels pad the width to a multiple of this


def serves(x: Tensor) -> bool:
    """Whether the compiled recurrence can take the place of torch's for this input."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.compiler.is_compiling()
        and native.kernels() is not None
    )


def lstm(x: Tensor, weights: list[Tensor], h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What `torch.lstm` gives for one layer.

    Args:
        x: (T, B, D).
        weights: W (4 D, D), U (4 D, D), and their biases (4 D), as nn.LSTM holds them.
        h, c: (B, D).
    Returns: y (T, B, D), and the last h and c (B, D).
    """
    w, u, w_bias, u_bias = weights
    gates = F.linear(x, w, w_bias + u_bias).float()  # bf16 under autocast; the recurrence itself stays in fp32
    y, last_c = _Recurrence.apply(gates, u, h, c)  # type: ignore[no-untyped-call]
    return y, y[-1], last_c


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, u: Tensor, h0: Tensor, c0: Tensor) -> tuple[Tensor, Tensor]:
        steps, lanes, _ = gates.shape
        dim = u.shape[1]
        gates = gates.clone(memory_format=torch.contiguous_format)  # the kernel leaves the gates' values in it
        u, h0, c0 = u.contiguous(), h0.contiguous(), c0.contiguous()
        y, c = gates.new_empty(2, steps, lanes, dim).unbind()
        native.run("lstm_forward", gates, u, h0, c0, y, c, _room(u), steps, lanes, dim)
        ctx.save_for_backward(gates, u, h0, c0, y, c)
        return y, c[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        grad_y, grad_last_c = grads
        gates, u, h0, c0, y, c = ctx.saved_tensors
        steps, lanes, dim = y.shape
        grad_gates, grad_h, grad_c = torch.empty_like(gates), torch.zeros_like(h0), grad_last_c.clone()
        arguments = (gates, u, c0, c, grad_y.contiguous(), grad_gates, grad_h, grad_c, _room(u))
        native.run("lstm_backward", *arguments, steps, lanes, dim)
        grad_u = grad_gates[0].T @ h0
        if steps > 1:
            grad_u.addmm_(grad_gates[1:].flatten(0, 1).T, y[:-1].flatten(0, 1))
        return grad_gates, grad_u, grad_h, grad_c


def _room(u: Tensor) -> Tensor:
    dim = u.shape[1]
    return u.new_empty(4 * dim * (-(-dim // PACKED_TO) * PACKED_TO))

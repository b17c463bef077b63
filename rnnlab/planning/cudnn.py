"""A recurrent layer as one call of cuDNN: what it takes and leaves of a GPU's memory, without a number computed.

The meta device would run it position by position. cuDNN multiplies the input for all positions at once, then goes
through the positions one by one, and keeps a reserve for the backward pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnnlab.planning.cards import RESERVE

GATES = {"lstm": 4, "gru": 3}


@dataclass(frozen=True)
class Recurrence:
    """One pass of a layer, forward or backward."""

    kind: str  # lstm or gru
    positions: int
    batch: int
    width: int
    dtype: torch.dtype
    backward: bool
    flops: int  # of the products over all positions at once
    traffic: int  # [bytes] read and written, the weights once


Note = Callable[[Recurrence], None]


def recurrent_layer(kind: str, args: Sequence[Any], dtype: torch.dtype, note: Note) -> tuple[Tensor, ...]:
    """`torch.lstm` or `torch.gru` of one layer, computed in `dtype`: its results, in that dtype.

    Args:
        args: those of torch's function: x (T, B, D), the states (1, B, D), the weights, ...
        note: told of each pass.
    """
    x, states, weights = args[:3]
    states = states if isinstance(states, (tuple, list)) else (states,)
    inputs = [tensor.to(dtype) for tensor in (x, *states, *weights)]
    outputs: tuple[Tensor, ...] = _Layer.apply(kind, note, len(states), *inputs)  # type: ignore[no-untyped-call]
    return outputs


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kind: str, note: Note, states: int, *inputs: Tensor) -> tuple[Tensor, ...]:
        x, first = inputs[0], inputs[1 : 1 + states]
        steps, batch, _ = x.shape
        width = first[0].shape[-1]
        y = x.new_empty(steps, batch, width)
        last = [torch.empty_like(state) for state in first]
        reserve = x.new_empty(RESERVE[kind], *y.shape)
        gates = x.new_empty(GATES[kind], *y.shape)  # the products of the input, until the call ends
        ctx.kind, ctx.note = kind, note
        ctx.save_for_backward(*inputs, y, reserve)
        note(_pass(kind, inputs[0], y, False, [*inputs, y, reserve, gates, gates]))
        return y, *last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        *inputs, y, reserve = ctx.saved_tensors
        gates = y.new_empty(GATES[ctx.kind], *y.shape)
        gradients = [torch.empty_like(each) for each in inputs]
        ctx.note(_pass(ctx.kind, inputs[0], y, True, [*inputs, y, y, reserve, gates, gates, *gradients]))
        return None, None, None, *gradients


def _pass(kind: str, x: Tensor, y: Tensor, backward: bool, touched: Sequence[Tensor]) -> Recurrence:
    steps, batch, width = y.shape
    product = 2 * steps * batch * width * GATES[kind]  # for each number of the other side
    flops = product * (2 * x.shape[-1] + width if backward else x.shape[-1])
    traffic = sum(tensor.nbytes for tensor in touched)
    return Recurrence(kind, steps, batch, width, x.dtype, backward, flops, traffic)

"""Recurrent layers on a GPU, by cuDNN.

Under autocast they compute in float16, also where the rest computes in bfloat16. On an H100 (T 1,024, B 16, D 1,024)
an LSTM's forward and backward pass takes 8 ms in float16, 36 ms in bfloat16 and 68 ms in float32, and float16 rounds at
4e-4 where bfloat16 rounds at 3e-3. What float16 lacks is range: the gradient of a mean loss is near 1e-6 at every
position, and 16% of the gradients behind the layer would become zero. So they are scaled by a power of two on their way
through. The fast kernels serve multiples of 8 sequences only; a batch in between is filled up with zeros.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.ops import native

Layer = Callable[[Tensor, list[Tensor], list[Tensor]], tuple[Tensor, ...]]
"""x (T, B, D), weights, states (B, D) -> y (T, B, D), next states, in one dtype throughout."""

SEQUENCES = 8  # a batch is filled up to a multiple of this

LARGEST = 2.0**-4
"""What the largest gradient at the layer's outputs is scaled to. Sums over 16,384 positions then end a factor of 47
below the largest number of float16 even where all gradients point the same way (measured: 1,386 of 65,504)."""


def serves(x: Tensor) -> bool:
    """Whether x is on a GPU, or on the meta device, which stands for one in rnnlab.planning."""
    return x.is_cuda or x.is_meta


def run_layer(layer: Layer, x: Tensor, weights: list[Tensor], states: list[Tensor]) -> tuple[Tensor, ...]:
    """What `layer` gives: y (T, B, D), in autocast's dtype if that is on, and states in the dtypes they came in."""
    dtype = native.autocast_dtype(x.device.type)
    if dtype is None:
        y, *last = layer(x, lying_flat(weights), [state.to(x.dtype) for state in states])
        return y, *(new.to(old.dtype) for new, old in zip(last, states, strict=True))
    with torch.autocast(x.device.type, enabled=False):
        passage = _Passage(x.shape[1])
        x, *rest = _Enter.apply(passage, len(states), x, *states, *weights)  # type: ignore[no-untyped-call]
        dtypes = [dtype, *(state.dtype for state in states)]
        found: tuple[Tensor, ...] = _Leave.apply(passage, dtypes, *layer(x, rest[len(states) :], rest[: len(states)]))  # type: ignore[no-untyped-call]
        return found


def lying_flat(weights: list[Tensor], dtype: torch.dtype | None = None) -> list[Tensor]:
    """The same weights one behind the other in one piece of memory, or cuDNN would copy them at every call."""
    if dtype in (None, weights[0].dtype) and _lie_flat(weights):
        return weights
    one = torch.cat([weight.to(dtype or weight.dtype).flatten() for weight in weights])
    parts = one.split([weight.numel() for weight in weights])  # type: ignore[no-untyped-call]
    return [part.view_as(weight) for part, weight in zip(parts, weights, strict=True)]


def _lie_flat(weights: list[Tensor]) -> bool:
    if weights[0].is_meta:  # nn.LSTM and nn.GRU lay them so where they come to a GPU
        return True
    storage, place = weights[0].untyped_storage()._cdata, weights[0].storage_offset()
    for weight in weights:
        here = weight.untyped_storage()._cdata, weight.storage_offset()
        if here != (storage, place) or not weight.is_contiguous():
            return False
        place += weight.numel()
    return True


class _Passage:
    """What the way out of float16 and the way in have in common; a backward pass comes by the way out first."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.scale: Tensor | None = None


class _Enter(torch.autograd.Function):
    """Inputs, states and weights in float16; their gradients in the dtypes that those had, without the scale."""

    @staticmethod
    def forward(ctx: Any, passage: _Passage, count: int, x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        ctx.passage, ctx.sequences, ctx.dtypes = passage, 1 + count, [tensor.dtype for tensor in (x, *rest)]
        ctx.set_materialize_grads(False)
        filled = (_filled_up(tensor.half()) for tensor in (x, *rest[:count]))
        return *filled, *lying_flat(list(rest[count:]), torch.float16)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        found: list[Tensor | None] = []
        for number, (grad, dtype) in enumerate(zip(grads, ctx.dtypes, strict=True)):
            if grad is not None and number < ctx.sequences:
                grad = grad[..., : ctx.passage.batch, :]
            found.append(None if grad is None else grad.to(dtype) / ctx.passage.scale)
        return None, None, *found


class _Leave(torch.autograd.Function):
    """y and the last states in the dtypes that are asked for; their gradients in float16, scaled."""

    @staticmethod
    def forward(ctx: Any, passage: _Passage, dtypes: list[torch.dtype], *outputs: Tensor) -> tuple[Tensor, ...]:
        ctx.passage = passage
        ctx.set_materialize_grads(False)
        # A copy even where the dtype is right: what is returned must not be what cuDNN keeps for its backward pass.
        return tuple(
            out[..., : passage.batch, :].to(dtype, copy=True) for out, dtype in zip(outputs, dtypes, strict=True)
        )

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        largest = torch.stack([grad.abs().amax().float() for grad in grads if grad is not None]).amax()
        # Exact: the scale is a power of two. A gradient that is not finite becomes NaN, and is found as ever.
        scale = torch.exp2(torch.log2(LARGEST / largest.clamp(min=1e-30)).floor())
        ctx.passage.scale = scale
        return None, None, *(None if grad is None else _filled_up((grad * scale).half()) for grad in grads)


def _filled_up(x: Tensor) -> Tensor:
    """(..., B, D) with zeros for the sequences that are missing to a multiple of SEQUENCES."""
    missing = -x.shape[-2] % SEQUENCES
    return F.pad(x, (0, 0, 0, missing)) if missing else x

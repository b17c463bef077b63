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

Layer = Callable[[Tensor, list[Tensor], list[Tensor]], tuple[Tensor, ...]]
"""x (T, B, D), weights, states (B, D) -> y (T, B, D), next states, in one dtype throughout."""

SEQUENCES = 8  # a batch is filled up to a multiple of this

LARGEST = 2.0**-4
"""What the largest gradient at the layer's outputs is scaled to. In float16 the sums over 16,384 positions then end a
factor of 60 below the largest number even where all gradients point the same way."""


def run_layer(layer: Layer, x: Tensor, weights: list[Tensor], states: list[Tensor]) -> tuple[Tensor, ...]:
    """What `layer` gives: y (T, B, D), in autocast's dtype if that is on, and states in the dtypes they came in."""
    reduced = torch.is_autocast_enabled(x.device.type)
    dtype = torch.get_autocast_dtype(x.device.type) if reduced else x.dtype
    with torch.autocast(x.device.type, enabled=False):
        if reduced:
            return _InHalf.apply(layer, dtype, len(states), x, *states, *weights)  # type: ignore[no-any-return, no-untyped-call]
        y, *last = layer(x, lying_flat(weights), [state.to(x.dtype) for state in states])
        return y, *(new.to(old.dtype) for new, old in zip(last, states, strict=True))


def lying_flat(weights: list[Tensor], dtype: torch.dtype | None = None) -> list[Tensor]:
    """The same weights one behind the other in one piece of memory, or cuDNN would copy them at every call."""
    if dtype in (None, weights[0].dtype) and _lie_flat(weights):
        return weights
    one = torch.cat([weight.to(dtype or weight.dtype).flatten() for weight in weights])
    parts = one.split([weight.numel() for weight in weights])  # type: ignore[no-untyped-call]
    return [part.view_as(weight) for part, weight in zip(parts, weights, strict=True)]


def _lie_flat(weights: list[Tensor]) -> bool:
    storage, place = weights[0].untyped_storage()._cdata, weights[0].storage_offset()
    for weight in weights:
        here = weight.untyped_storage()._cdata, weight.storage_offset()
        if here != (storage, place) or not weight.is_contiguous():
            return False
        place += weight.numel()
    return True


class _InHalf(torch.autograd.Function):
    """The layer in float16. Its own graph is kept inside, so that gradients enter and leave it scaled."""

    @staticmethod
    def forward(ctx: Any, layer: Layer, dtype: torch.dtype, count: int, x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        states, weights = rest[:count], list(rest[count:])
        inputs = [_filled_up(x.half()), *(_filled_up(state.half()) for state in states)]
        inputs += lying_flat(weights, torch.float16)
        learns = any(ctx.needs_input_grad)
        if learns:
            inputs = [tensor.detach().requires_grad_() for tensor in inputs]
        with torch.set_grad_enabled(learns):
            y, *last = layer(inputs[0], inputs[count + 1 :], inputs[1 : count + 1])
        ctx.inner = (inputs, [y, *last]) if learns else None
        ctx.dtypes, batch = [tensor.dtype for tensor in (x, *rest)], x.shape[1]
        ctx.set_materialize_grads(False)
        new = (state.detach()[:batch].to(old.dtype) for state, old in zip(last, states, strict=True))
        return y.detach()[:, :batch].to(dtype), *new

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs, outputs = ctx.inner
        ctx.inner = None
        given = [(out, grad) for out, grad in zip(outputs, grads, strict=True) if grad is not None]
        largest = torch.stack([grad.abs().amax().float() for _, grad in given]).amax()
        # Exact: the scale is a power of two. A gradient that is not finite becomes NaN, and is found as ever.
        scale = torch.exp2(torch.log2(LARGEST / largest.clamp(min=1e-30)).floor())
        scaled = [_filled_up((grad * scale).half()) for _, grad in given]
        found = torch.autograd.grad([out for out, _ in given], inputs, scaled)
        batch = grads[0].shape[1] if grads[0] is not None else given[0][1].shape[0]
        kept = [found[0][:, :batch], *(grad[:batch] for grad in found[1 : len(outputs)]), *found[len(outputs) :]]
        return None, None, None, *(grad.to(dtype) / scale for grad, dtype in zip(kept, ctx.dtypes, strict=True))


def _filled_up(x: Tensor) -> Tensor:
    """(..., B, D) with zeros for the sequences that are missing to a multiple of SEQUENCES."""
    missing = -x.shape[-2] % SEQUENCES
    return F.pad(x, (0, 0, 0, missing)) if missing else x

"""Attention over a sliding memory on the CPU: torch multiplies, compiled passes do all that lies between the products.

A sequence, a head and a block of queries at a time: what they see of the memory is one stretch of it, their scores stay
in the cache, and little is computed that the window hides. Mask, softmax and dropout are one pass over the scores, and
one back. The memory needs no gradient, so its part of the keys is not multiplied again to get one.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnlab import native
from rnnlab.dropout import apply_mask, batch_offset, draw_key, kernel_arguments

BLOCK = 256  # queries at a time


class _Plan(NamedTuple):
    heads: int
    window: int  # [positions]
    p: float
    weight_key: int  # of the weights' mask
    memory_key: int  # of the values' masks: what is remembered,
    source_key: int  # and the chunk's own
    offset: int  # number of the first sequence
    dtype: torch.dtype  # of the products


class _Tile(NamedTuple):
    """What is computed at a time, as indices: of queries, of the keys that one or more of them see, and of both."""

    number: int  # of the sequence
    head: int
    queries: slice
    keys: slice
    own: slice  # of those keys the chunk's own, counted from its first
    queries_here: tuple[slice, int, slice]  # in (T, B, D)
    keys_here: tuple[slice, int, slice]
    own_here: tuple[slice, int, slice]


def serves(source: Tensor, memory: Tensor) -> bool:
    """Whether the compiled passes can take the place of torch's operations for this input."""
    return native.serves(source) and not memory.requires_grad


def attend(q: Tensor, source: Tensor, seen: Tensor, heads: int, window: int, p: float) -> Tensor:
    """dropout(softmax(q K^T)) dropout(K) over the window.

    Args:
        q: (T, B, D), scaled.
        source: (T, B, D), what gets the keys' gradient.
        seen: K (M' + T, B, D), the memory followed by source, M' < window.
        p: probability of a zero in values and weights; 0 outside training.
    Returns: (T, B, D) in source's dtype; under autocast the products are computed in its dtype.
    """
    keys = (draw_key(), draw_key(), draw_key()) if p else (0, 0, 0)
    plan = _Plan(heads, window, p, *keys, batch_offset(), native.product_dtype(source))
    return _Attend.apply(q.to(source.dtype), source, seen.detach(), plan)  # type: ignore[no-any-return, no-untyped-call]


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, source: Tensor, seen: Tensor, plan: _Plan) -> Tensor:
        steps, remembered = len(source), len(seen) - len(source)
        q, k = q.to(plan.dtype), seen.to(plan.dtype)
        v = _values(k, remembered, plan)
        y, kept = torch.empty_like(source), []
        for tile in _tiles(source.shape, remembered, plan):
            weights = torch.mm(q[tile.queries_here], k[tile.keys_here].T)
            dropped = torch.empty_like(weights) if plan.p else weights
            native.run(
                "attend_forward", weights, dropped if plan.p else 0, _room(weights), *weights.shape,
                tile.queries.start, tile.keys.start, steps, remembered, plan.window, _half(weights),
                tile.head, tile.number, *_mask(plan),
            )  # fmt: skip
            y[tile.queries_here] = torch.mm(dropped, v[tile.keys_here])
            if any(ctx.needs_input_grad):
                kept.append(weights)
        ctx.plan, ctx.dtype = plan, source.dtype
        ctx.save_for_backward(q, k, v, *kept)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        plan: _Plan = ctx.plan
        q, k, v, *kept = ctx.saved_tensors
        steps, remembered, grad_y = len(q), len(k) - len(q), grads[0].to(plan.dtype)
        grad_q = torch.empty(q.shape)
        grad_keys, grad_values = torch.zeros(2, *q.shape).unbind()  # of the chunk's own
        for tile, weights in zip(_tiles(q.shape, remembered, plan), kept, strict=True):
            grad = torch.mm(grad_y[tile.queries_here], v[tile.keys_here].T)
            own_from = len(weights.T) - (tile.own.stop - tile.own.start)
            dropped = weights[:, own_from:]
            if plan.p:
                dropped = torch.empty_like(dropped, memory_format=torch.contiguous_format)
            native.run(
                "attend_backward", weights, grad, dropped if plan.p else 0, _room(weights), own_from, *weights.shape,
                tile.queries.start, tile.keys.start, steps, remembered, _half(weights),
                tile.head, tile.number, *_mask(plan),
            )  # fmt: skip
            grad_q[tile.queries_here] = torch.mm(grad, k[tile.keys_here])
            grad_keys[tile.own_here] += torch.mm(grad[:, own_from:].T, q[tile.queries_here])
            grad_values[tile.own_here] += torch.mm(dropped.T, grad_y[tile.queries_here])
        if plan.p:
            grad_values = apply_mask(grad_values, plan.p, plan.source_key, plan.offset, batch_dim=1)
        return grad_q.to(ctx.dtype), grad_keys.add_(grad_values).to(ctx.dtype), None, None


def _tiles(shape: torch.Size, remembered: int, plan: _Plan) -> Iterator[_Tile]:
    steps, batch, dim = shape
    width = dim // plan.heads
    for sequence in range(batch):
        for head in range(plan.heads):
            channels = slice(head * width, (head + 1) * width)
            for start in range(0, steps, BLOCK):
                queries = slice(start, min(start + BLOCK, steps))
                keys = slice(max(0, remembered + start - plan.window + 1), remembered + queries.stop)
                own = slice(max(0, keys.start - remembered), queries.stop)
                here = ((positions, sequence, channels) for positions in (queries, keys, own))
                yield _Tile(sequence, head, queries, keys, own, *here)


def _values(keys: Tensor, remembered: int, plan: _Plan) -> Tensor:
    """What the weights are multiplied with: the keys, under masks of their own."""
    if not plan.p:
        return keys
    values = torch.empty_like(keys)
    for part, key in ((slice(remembered), plan.memory_key), (slice(remembered, None), plan.source_key)):
        apply_mask(keys[part], plan.p, key, plan.offset, batch_dim=1, out=values[part])
    return values


def _half(x: Tensor) -> int:
    return int(x.dtype == torch.bfloat16)


def _mask(plan: _Plan) -> tuple[int, int, int, float]:
    return kernel_arguments(plan.p, plan.weight_key, plan.offset, batch_dim=0)


def _room(weights: Tensor) -> Tensor:
    """Two rows of floats for each thread to work in."""
    return torch.empty(torch.get_num_threads(), 2 * weights.shape[1])

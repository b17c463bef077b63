"""Attention over a sliding memory whose positions are keys and values alike.

    a = dropout(softmax(q K^T)) over the window,  y = a dropout(K),  by head;  K = the memory, then source

Query t of a chunk stands at key M' + t; it sees itself and the window - 1 keys before it, however the text was cut. The
memory needs no gradient. In C, on the CPU, torch multiplies and compiled passes do all that lies between the products:
a sequence, a head and a block of queries at a time, what they see of the memory is one stretch of it, their scores stay
in the cache, and little is computed that is masked. Mask, softmax and dropout are one pass, and one back. Many short
chunks, as the examples of a task, are multiplied at once instead: at T 24, B 64, D 64 that takes a third of the time.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from rnnlab.errors import ConfigError
from rnnlab.ops import cudnn, native
from rnnlab.ops.dropout import NO_PADDING, apply_mask, batch_offset, draw_key, dropout, kernel_arguments

Backend = Literal["reference", "native"]

BLOCK = 256  # queries at a time
ALIGNED = 8  # numbers in half precision to which a GPU's matrix products want rows aligned
SCORED = 16  # keys that the kernel of one query scores at a time
SHORT = 4096  # scores of a sequence and head, up to which tiles cost more than the products that they save,
MANY = 16  # where there are as many sequences and heads: one call then computes all of them


class Memory(NamedTuple):
    positions: Tensor  # (M', B, D) past sources as they came, oldest first, M' <= memory - 1


def check_window(name: str, window: int) -> None:
    """Raises: ConfigError unless a query sees at least itself."""
    if window < 1:
        raise ConfigError(f"{name}.memory = {window}: a query sees at least itself, so memory >= 1 [positions]")


def memory_dtype(memory: Tensor, source: Tensor) -> torch.dtype:
    """In what positions are remembered: as those before them, and the first in the dtype of the products.

    Products round to that dtype anyway, so that a memory in bfloat16 loses nothing and takes half the room.
    """
    return memory.dtype if len(memory) else native.product_dtype(source)


def next_memory(memory: Tensor, source: Tensor, window: int) -> Tensor:
    """memory (M', B, D), then source (T, B, D), cut to the newest window - 1: a window counts the query itself."""
    keep, dtype = window - 1, memory_dtype(memory, source)
    if keep <= len(source):
        return source[len(source) - keep :].to(dtype)
    return torch.cat([memory[max(0, len(memory) + len(source) - keep) :].to(dtype), source.to(dtype)])


def hidden_from(queries: int, remembered: int, window: int, device: torch.device) -> Tensor:
    """Which keys each query must not see: bool (T, M' + T), True where hidden."""
    own = torch.arange(remembered, remembered + queries, device=device).unsqueeze(1)
    key = torch.arange(remembered + queries, device=device).unsqueeze(0)
    return (key > own) | (key <= own - window)


def window_attention(
    q: Tensor,
    source: Tensor,
    memory: Tensor,
    *,
    heads: int,
    window: int,
    p: float = 0.0,
    backend: Backend | None = None,
) -> tuple[Tensor, Tensor]:
    """y (T, B, D) in source's dtype, and the next memory (M'', B, D), M'' = min(M' + T, window - 1).

    Under autocast the products are computed in its dtype, and y of the reference is in it.

    Args:
        q: (T, B, D), with its scale.
        source: (T, B, D), the chunk's own keys and values.
        memory: (M', B, D), those of before, M' < window.
        heads: H, into which D is cut.
        window: positions each query may see, itself included [positions].
        p: chance that a weight, and a channel of a value, is dropped [probability]; 0 outside training.
        backend: forces one; None chooses.
    """
    if backend is None:
        short = len(source) * (len(memory) + len(source)) <= SHORT and source.shape[1] * heads >= MANY
        backend = "native" if native.serves(source) and not memory.requires_grad and not short else "reference"
    if backend == "native":
        kept = memory_dtype(memory, source)
        dtype = kept if kept == native.product_dtype(source) else source.dtype
        seen = torch.cat([memory.to(dtype), source.to(dtype)])
        # The next memory is a view of what was seen: a copy of a long one costs as much as a layer.
        return _native(q, source, seen, heads, window, p), seen[max(0, len(seen) - window + 1) :].to(kept)
    hidden = hidden_from(len(q), len(memory), window, source.device)
    padding = _padding(source, memory)
    if padding != NO_PADDING:
        hidden = F.pad(hidden, padding, value=True)
    weights = attention_weights(q, source, memory, hidden, heads, padding)
    return attention_read(weights, source, memory, p, padding), next_memory(memory, source, window)


def _padding(source: Tensor, memory: Tensor) -> tuple[int, int]:
    """How many positions, in front of the memory and behind source, make rows that a GPU multiplies fast.

    At a memory of 4,999 an H100 takes 13 ms without them and 7 ms with them, forward and backward (T 1,024, B 16).
    """
    if not cudnn.serves(source) or native.product_dtype(source).itemsize != 2:
        return NO_PADDING
    return -len(memory) % ALIGNED, -len(source) % ALIGNED


def attention_weights(
    q: Tensor,
    source: Tensor,
    memory: Tensor,
    hidden: Tensor,
    heads: int,
    padding: tuple[int, int] = NO_PADDING,
    bias: Tensor | None = None,
) -> Tensor:
    """softmax(q K^T + bias) (B, H, T, M' + T), 0 where `hidden` (T, M' + T): the first half of the reference.

    With a padding, K and the last dimension of `hidden` and of what is returned are longer by it. A bias is
    (H, T, M' + T), and takes no padding.
    """
    dtype = native.product_dtype(source)
    q = _by_head(q.to(dtype), heads)  # (B H, T, D/H), and so the keys
    # The memory's half of each product is kept apart because it needs no gradient.
    scores = torch.cat([q @ _by_head(part, heads).mT for part in _keys(memory, source, dtype, padding)], dim=-1)
    exact = torch.promote_types(dtype, torch.float32)
    scores = scores.to(exact)
    if bias is not None:
        scores = scores + bias.to(exact).repeat(len(scores) // heads, 1, 1)
    weights = scores.masked_fill(hidden, -torch.inf).softmax(dim=-1).to(dtype)
    by_sequence: Tensor = weights.unflatten(0, (-1, heads))  # type: ignore[no-untyped-call]
    return by_sequence


def attention_read(
    weights: Tensor, source: Tensor, memory: Tensor, p: float = 0.0, padding: tuple[int, int] = NO_PADDING
) -> Tensor:
    """dropout(weights) dropout(K) (T, B, D): the second half of the reference."""
    heads, training = weights.shape[1], p > 0.0
    # By sequence, so that each keeps its mask whichever others stand beside it.
    weights = dropout(weights, p, training, batch_dim=0, padding=padding).flatten(0, 1)
    memory = dropout(memory.to(weights.dtype), p, training)
    source = dropout(source.to(weights.dtype), p, training)
    memory, source = _keys(memory, source, weights.dtype, padding)
    # Slices, because torch 2.13 compiles `split` between these products into a wrong gradient of source.
    seen, own = weights[..., : len(memory)], weights[..., len(memory) :]
    y = seen @ _by_head(memory, heads) + own @ _by_head(source, heads)
    by_position: Tensor = rearrange(y, "(b h) t d -> t b (h d)", h=heads)
    return by_position


def _keys(memory: Tensor, source: Tensor, dtype: torch.dtype, padding: tuple[int, int]) -> tuple[Tensor, Tensor]:
    front, behind = padding
    memory, source = memory.to(dtype), source.to(dtype)
    if front:
        memory = F.pad(memory, (0, 0, 0, 0, front, 0))
    return memory, F.pad(source, (0, 0, 0, 0, 0, behind)) if behind else source


def _by_head(x: Tensor, heads: int) -> Tensor:
    return rearrange(x, "t b (h d) -> (b h) t d", h=heads)


class InPlaceMemory:
    """A memory written in place: what a generator keeps, where a state would be copied for every byte.

    It holds the newest positions in no order: attention that knows no positions needs none.

    Args:
        positions: (M', B, D) to begin with; copied.
        window: positions kept, the one added last included [positions].
    """

    def __init__(self, positions: Tensor, window: int) -> None:
        self.window, self.filled, self._oldest = window, len(positions), 0
        self._room = positions.new_empty(min(window, 2 * len(positions) + 64), *positions.shape[1:])
        self._room[: self.filled] = positions

    @property
    def positions(self) -> Tensor:
        """(filled, B, D), a view."""
        return self._room[: self.filled]

    def add(self, position: Tensor) -> None:
        """(B, D) in the place of the oldest, once the window is full."""
        if self.filled == self.window:
            self._room[self._oldest] = position
            self._oldest = (self._oldest + 1) % self.window
            return
        if self.filled == len(self._room):
            larger = self._room.new_empty(min(self.window, 2 * self.filled), *position.shape)
            larger[: self.filled] = self._room
            self._room = larger
        self._room[self.filled] = position
        self.filled += 1

    def attend(self, q: Tensor, heads: int) -> Tensor:
        """softmax(q K^T) K by head for q (B, D), scaled; (B, D)."""
        batch, dim = q.shape
        if native.serves(q, products=(torch.float32,)) and self._room.dtype == torch.float32:
            y, width = torch.empty_like(q), dim // heads
            room = torch.empty(torch.get_num_threads(), width + 2 + SCORED)
            native.run("attend_step", q.contiguous(), self._room, y, room, self.filled, batch, heads, width)
            return y
        keys = rearrange(self.positions, "m b (h d) -> m b h d", h=heads)
        scores = torch.einsum("bhd,mbhd->bhm", rearrange(q, "b (h d) -> b h d", h=heads), keys)
        exact = torch.promote_types(scores.dtype, torch.float32)
        weights = scores.to(exact).softmax(dim=-1).to(keys.dtype)
        return torch.einsum("bhm,mbhd->bhd", weights, keys).flatten(1)


class _Plan(NamedTuple):
    heads: int
    window: int  # [positions]
    p: float
    mask: tuple[int, int, int, float]  # of the weights
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
    queries_here: tuple[slice, int, slice]  # in (T, B, D)
    keys_here: tuple[slice, int, slice]
    own_here: tuple[slice, int, slice]  # those keys that are the chunk's own, counted from its first


def _native(q: Tensor, source: Tensor, seen: Tensor, heads: int, window: int, p: float) -> Tensor:
    """y for K = `seen` (M' + T, B, D)."""
    weight_key, memory_key, source_key = (draw_key(), draw_key(), draw_key()) if p else (0, 0, 0)
    mask = kernel_arguments(p, weight_key, batch_offset(), batch_dim=0)
    plan = _Plan(heads, window, p, mask, memory_key, source_key, batch_offset(), native.product_dtype(source))
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
                tile.queries.start, tile.keys.start, steps, remembered, plan.window, plan.dtype == torch.bfloat16,
                tile.head, tile.number, *plan.mask,
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
            own_from = max(0, remembered - tile.keys.start)
            dropped = weights[:, own_from:]
            if plan.p:
                dropped = torch.empty_like(dropped, memory_format=torch.contiguous_format)
            native.run(
                "attend_backward", weights, grad, dropped if plan.p else 0, _room(weights), own_from, *weights.shape,
                tile.queries.start, tile.keys.start, steps, remembered, plan.dtype == torch.bfloat16,
                tile.head, tile.number, *plan.mask,
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
                yield _Tile(sequence, head, queries, keys, *here)


def _values(keys: Tensor, remembered: int, plan: _Plan) -> Tensor:
    """What the weights are multiplied with: the keys, under masks of their own."""
    if not plan.p:
        return keys
    values = torch.empty_like(keys)
    for part, key in ((slice(remembered), plan.memory_key), (slice(remembered, None), plan.source_key)):
        apply_mask(keys[part], plan.p, key, plan.offset, batch_dim=1, out=values[part])
    return values


def _room(weights: Tensor) -> Tensor:
    """Two rows of floats for each thread to work in."""
    return torch.empty(torch.get_num_threads(), 2 * weights.shape[1])

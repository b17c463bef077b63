"""Dropout whose mask is a hash of (key, sequence, place) rather than a stored draw.

Source: Srivastava et al. 2014 for dropout; the integer hash is Ellis' "lowbias32" (nullprogram.com/blog/2018/07/31).

One key is drawn for each application, from torch's CPU generator, on whatever device the values are. So a sequence gets
the same mask on every device and on whichever rank holds it, and a step can be repeated anywhere. Nothing is kept for
the backward but the key. C computes the hash on the CPU, Triton on a GPU, and torch's integer operations where neither
can be used, more slowly. torch's `bernoulli_` alone would cost a quarter of a training step on the CPU; the hash in C
costs a twentieth.

A number that the host draws is lost on two kinds of code that run without the Python that made them:

- torch.compile: the draw is an operator in the graph, as is the mask. Both run in Python at every step, and all draws
  write to one tensor, which keeps them in the order in which the model makes them.
- A recorded pass (rnnlab.training.cudagraph): while it is recorded, the kernel of application n is told to read its key
  from place n of a `KeyTable` in device memory. The table is filled before every replay, with the numbers that single
  draws would have given.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.ops import native, triton_devices

_ON_GPU = torch.float32, torch.bfloat16, torch.float16
_WEYL = -1640531527  # 2^32 / golden ratio, as a signed 32-bit integer

NO_PADDING = (0, 0)

_batch_offset = 0
_drawn = 0
_table: "KeyTable | None" = None
_order = torch.zeros((), dtype=torch.int64)  # what the draws of compiled code write to, so that they keep their order


def set_batch_offset(offset: int) -> None:
    """Number of the first sequence that this process holds; the trainer sets it when ranks share the batch."""
    global _batch_offset
    _batch_offset = offset


def batch_offset() -> int:
    """What `set_batch_offset` was told; 0 in a run of one process."""
    return _batch_offset


def dropout(
    x: Tensor, p: float, training: bool, batch_dim: int | None = 1, padding: tuple[int, int] = NO_PADDING
) -> Tensor:
    """Zero each value with probability `p` and scale the rest by 1 / (1 - p); the identity when not training.

    Args:
        x: any shape.
        p: probability of a zero [probability], 0 <= p < 1.
        batch_dim: which dimension of x is the batch: 1 in (T, B, D), 0 in attention weights (B, H, T, keys), None for a
            weight, which every sequence shares.
        padding: how many values in front of and behind each row of the last dimension stand there for its alignment
            alone; the others get the mask that they would get without them.
    """
    if not training or p == 0.0:
        return x
    if torch.compiler.is_compiling():
        masked: Tensor = _compiled_mask(x, _compiled_key(_order), p, _batch_offset, batch_dim, *padding)
        return masked
    return _HashDropout.apply(x, p, draw_key(), _batch_offset, batch_dim, padding)  # type: ignore[no-any-return, no-untyped-call]


class _HashDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *arguments: Any) -> Tensor:
        ctx.arguments = arguments
        return apply_mask(x, *arguments)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return apply_mask(grads[0], *ctx.arguments), *(None for _ in ctx.arguments)


def apply_mask(
    x: Tensor,
    p: float,
    key: int,
    offset: int,
    batch_dim: int | None,
    padding: tuple[int, int] = NO_PADDING,
    out: Tensor | None = None,
) -> Tensor:
    """x times its mask over (1 - p), in `out` (contiguous) or anew; key, sequence + offset and place give the mask."""
    layout, arguments = _layout(x.shape, batch_dim), kernel_arguments(p, key, offset, batch_dim)
    in_c = x.is_cpu and x.dtype in (torch.float32, torch.bfloat16) and padding == NO_PADDING
    kernels = native.kernels() if in_c else None
    if kernels is not None:
        y = torch.empty_like(x, memory_format=torch.contiguous_format) if out is None else out
        kernels.run("dropout_apply", x.contiguous(), y, *layout, x.dtype.itemsize == 2, *arguments)
        return y
    if x.is_cuda and x.dtype in _ON_GPU and triton_devices.usable(x.device):
        from rnnlab.ops import dropout_triton  # imports triton, which is not installed everywhere

        y = torch.empty_like(x, memory_format=torch.contiguous_format) if out is None else out
        _, first, threshold, scale = arguments
        where = layout, x.shape[-1], padding
        dropout_triton.apply_mask(x.contiguous(), y, *where, _readable(key), first, _signed(threshold), scale)
        return y
    counted = torch.Size([*x.shape[:-1], x.shape[-1] - sum(padding)]) if x.dim() else x.shape
    keep = keep_mask(counted, p, key, offset, batch_dim, x.device)
    if padding != NO_PADDING:
        keep = F.pad(keep, padding)
    dropped = torch.where(keep, x * (1.0 / (1.0 - p)), 0.0).to(x.dtype)
    return dropped if out is None else out.copy_(dropped)


def keep_mask(
    shape: torch.Size, p: float, key: int, offset: int, batch_dim: int | None, device: torch.device | None = None
) -> Tensor:
    """Boolean mask of `shape`: hash(sequence key + place in it) >= p * 2^32, in 32-bit arithmetic that wraps."""
    outer, count, inner = _layout(shape, batch_dim)
    readable = _readable(key)
    number = _signed(readable) if isinstance(readable, int) else readable.to(torch.int32)
    sequences = torch.arange(count, dtype=torch.int32, device=device) + (0 if batch_dim is None else offset)
    sequence_keys = _mix(sequences * _WEYL + number)
    places = torch.arange(outer * inner, dtype=torch.int32, device=device).view(outer, 1, inner)
    bits = _mix(places + sequence_keys.view(1, -1, 1))
    threshold = _signed(int(p * 2**32) ^ 0x80000000)  # flipping the top bit makes a signed comparison unsigned
    return (bits.bitwise_xor_(-0x80000000) >= threshold).view(shape)


def draw_key() -> int:
    """The key of one application, from torch's CPU generator, which the trainer seeds by (seed, step).

    A number from 0 to 2^31 - 1; on another device than the CPU, within `KeyTable.in_use`, its place there as -1 - n.
    """
    global _drawn
    _drawn += 1
    return int(torch.randint(2**31, ()).item()) if _table is None else _table.next_key()


def drawn_keys() -> int:
    """How many keys this process has drawn."""
    return _drawn


class KeyTable:
    """Keys of a recorded pass, in device memory, where every replay reads those of its own step.

    Args:
        count: applications of dropout in one pass.
        device: of the pass.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        self.keys = torch.zeros(count, dtype=torch.int64, device=device)
        self._next = 0

    def draw(self) -> None:
        """Draw all keys, as so many calls of `draw_key` would; the device is not waited for."""
        drawn = torch.randint(2**31, self.keys.shape, pin_memory=self.keys.is_cuda)
        self.keys.copy_(drawn, non_blocking=True)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """A pass in which application n has the key at place n, whatever stands there when its kernel runs."""
        global _table
        assert _table is None, "a pass is recorded within another"
        _table, self._next = self, 0
        try:
            yield
            assert self._next == len(self.keys), f"{self._next} masks in a recorded pass, {len(self.keys)} before it"
        finally:
            _table = None

    def next_key(self) -> int:
        """As `draw_key` gives it."""
        place, self._next = self._next, self._next + 1
        assert place < len(self.keys), f"more masks in a recorded pass than the {place} before it"
        return int(self.keys[place]) if self.keys.is_cpu else -1 - place


def _readable(key: int) -> int | Tensor:
    """What a kernel can use: the number, or the place in device memory where it will be."""
    if key >= 0:
        return key
    assert _table is not None, "the backward of a recorded pass belongs to the recording"
    return _table.keys[-1 - key]


@torch.library.custom_op("rnnlab::draw_key", mutates_args={"order"})
def _compiled_key(order: Tensor) -> Tensor:
    """`draw_key` as a tensor () on the CPU."""
    return torch.tensor(draw_key(), device="cpu")


@_compiled_key.register_fake
def _(order: Tensor) -> Tensor:
    return torch.empty((), dtype=torch.int64, device="cpu")


@torch.library.custom_op("rnnlab::dropout", mutates_args=())
def _compiled_mask(
    x: Tensor, key: Tensor, p: float, offset: int, batch_dim: int | None, front: int, behind: int
) -> Tensor:
    return apply_mask(x, p, int(key), offset, batch_dim, (front, behind))


@_compiled_mask.register_fake
def _(x: Tensor, key: Tensor, p: float, offset: int, batch_dim: int | None, front: int, behind: int) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, key, *ctx.arguments = inputs
    ctx.save_for_backward(key)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return _compiled_mask(grad, *ctx.saved_tensors, *ctx.arguments), None, *(None for _ in ctx.arguments)


_compiled_mask.register_autograd(_backward, setup_context=_remember)


def kernel_arguments(p: float, key: int, offset: int, batch_dim: int | None) -> tuple[int, int, int, float]:
    """What the compiled kernels that drop take at their end: key, first sequence, threshold, scale."""
    return key, 0 if batch_dim is None else offset, int(p * 2**32), 1.0 / (1.0 - p)


def _layout(shape: torch.Size, batch_dim: int | None) -> tuple[int, int, int]:
    """Sizes before, at and after the dimension of the batch."""
    if batch_dim is None:
        return 1, 1, shape.numel()
    return shape[:batch_dim].numel(), shape[batch_dim], shape[batch_dim + 1 :].numel()


def _signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - 2**32 if value >= 2**31 else value


def _mix(x: Tensor) -> Tensor:
    """lowbias32, in place on a fresh int32 tensor; torch shifts arithmetically, so the sign bits are masked away."""
    x = x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF)).mul_(0x7FEB352D)
    x = x.bitwise_xor_((x >> 15).bitwise_and_(0x1FFFF)).mul_(_signed(0x846CA68B))
    return x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF))

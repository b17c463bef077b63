"""Dropout whose mask is a hash of (key, sequence, position) rather than a stored draw.

Source: Srivastava et al. 2014 for dropout; the integer hash is Ellis' "lowbias32" (nullprogram.com/blog/2018/07/31).

On the CPU torch's `bernoulli_` alone costs a quarter of a training step; the compiled hash costs a twentieth of it,
needs no mask kept for the backward, and gives a sequence the same mask whichever rank holds it. Without a compiler
torch's integer operations give the same masks, more slowly. Other devices use torch's own dropout.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.ops import native

_WEYL = -1640531527  # 2^32 / golden ratio, as a signed 32-bit integer

_batch_offset = 0


def set_batch_offset(offset: int) -> None:
    """Number of the first sequence that this process holds; the trainer sets it when ranks share the batch."""
    global _batch_offset
    _batch_offset = offset


def batch_offset() -> int:
    """What `set_batch_offset` was told; 0 in a run of one process."""
    return _batch_offset


def dropout(x: Tensor, p: float, training: bool, batch_dim: int | None = 1) -> Tensor:
    """Zero each value with probability `p` and scale the rest by 1 / (1 - p); the identity when not training.

    Args:
        x: any shape.
        p: probability of a zero [probability], 0 <= p < 1.
        batch_dim: which dimension of x is the batch: 1 in (T, B, D), 0 in attention weights (B, H, T, keys), None for a
            weight, which every sequence shares.
    """
    if not training or p == 0.0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, p, True)
    return _HashDropout.apply(x, p, draw_key(), _batch_offset, batch_dim)  # type: ignore[no-any-return, no-untyped-call]


class _HashDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float, key: int, offset: int, batch_dim: int | None) -> Tensor:
        ctx.arguments = p, key, offset, batch_dim
        return apply_mask(x, p, key, offset, batch_dim)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return apply_mask(grads[0], *ctx.arguments), None, None, None, None


def apply_mask(x: Tensor, p: float, key: int, offset: int, batch_dim: int | None, out: Tensor | None = None) -> Tensor:
    """x times its mask over (1 - p), in `out` (contiguous) or anew; key, sequence + offset and place give the mask."""
    kernels = native.kernels()
    if kernels is not None and x.dtype in (torch.float32, torch.bfloat16):
        y = torch.empty_like(x, memory_format=torch.contiguous_format) if out is None else out
        arguments = kernel_arguments(p, key, offset, batch_dim)
        kernels.run("dropout_apply", x.contiguous(), y, *_layout(x.shape, batch_dim), x.dtype.itemsize == 2, *arguments)
        return y
    keep = keep_mask(x.shape, p, key, offset, batch_dim)
    dropped = torch.where(keep, x * (1.0 / (1.0 - p)), 0.0).to(x.dtype)
    return dropped if out is None else out.copy_(dropped)


def keep_mask(shape: torch.Size, p: float, key: int, offset: int, batch_dim: int | None) -> Tensor:
    """Boolean mask of `shape`: hash(sequence key + place in it) >= p * 2^32, in 32-bit arithmetic that wraps."""
    outer, count, inner = _layout(shape, batch_dim)
    sequences = torch.arange(count, dtype=torch.int32) + (0 if batch_dim is None else offset)
    sequence_keys = _mix(sequences * _WEYL + _signed(key))
    places = torch.arange(outer * inner, dtype=torch.int32).view(outer, 1, inner)
    bits = _mix(places + sequence_keys.view(1, -1, 1))
    threshold = _signed(int(p * 2**32) ^ 0x80000000)  # flipping the top bit makes a signed comparison unsigned
    return (bits.bitwise_xor_(-0x80000000) >= threshold).view(shape)


def draw_key() -> int:
    """The key of one application, from the global generator, which the trainer seeds by (seed, step)."""
    return int(torch.randint(2**31, ()).item())


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

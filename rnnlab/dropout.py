"""Dropout whose mask is a hash of (key, lane, position) rather than a stored draw.

Source: Srivastava et al. 2014 for dropout; the integer hash is Ellis' "lowbias32" (nullprogram.com/blog/2018/07/31).

On the CPU torch's `bernoulli_` alone costs a quarter of a training step; the hash costs a fraction, needs no mask kept
for the backward, and gives a lane the same mask whichever rank holds it. Other devices use torch's own dropout.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_lane_offset = 0


def set_lane_offset(offset: int) -> None:
    """Number of the first lane this process holds [lanes]; the trainer sets it when lanes are sharded over ranks."""
    global _lane_offset
    _lane_offset = offset


def dropout(x: Tensor, p: float, training: bool, lane_dim: int | None = 1) -> Tensor:
    """Zero each value with probability `p` and scale the rest by 1 / (1 - p); the identity when not training.

    Args:
        x: any shape; lanes at `lane_dim`.
        p: probability of a zero [probability], 0 <= p < 1.
        lane_dim: which dimension of x counts lanes: 1 in (T, B, D), 0 in attention weights (B, T, keys), None for a
            weight, which every lane shares.
    """
    if not training or p == 0.0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, p, True)
    key = int(torch.randint(2**31, ()).item())  # from the global generator, which the trainer seeds by (seed, step)
    return _HashDropout.apply(x, p, key, _lane_offset, lane_dim)  # type: ignore[no-any-return, no-untyped-call]


class _HashDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float, key: int, offset: int, lane_dim: int | None) -> Tensor:
        ctx.arguments = p, key, offset, lane_dim
        return apply_mask(x, p, key, offset, lane_dim)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return apply_mask(grads[0], *ctx.arguments), None, None, None, None


def apply_mask(x: Tensor, p: float, key: int, offset: int, lane_dim: int | None) -> Tensor:
    """x times its mask over (1 - p). The mask depends on (key, lane + offset, place within the lane) only."""
    keep = keep_mask(x.shape, p, key, offset, lane_dim)
    return torch.where(keep, x * (1.0 / (1.0 - p)), 0.0).to(x.dtype)


def keep_mask(shape: torch.Size, p: float, key: int, offset: int, lane_dim: int | None) -> Tensor:
    """Boolean mask of `shape`: hash(lane key + place in the lane) >= p * 2^32, in 32-bit arithmetic that wraps."""
    if lane_dim is None:
        outer, lanes, inner = 1, torch.zeros(1, dtype=torch.int32), shape.numel()
    else:
        outer, inner = shape[:lane_dim].numel(), shape[lane_dim + 1 :].numel()
        lanes = torch.arange(offset, offset + shape[lane_dim], dtype=torch.int32)
    lane_keys = _mix(lanes * _WEYL + _signed(key))
    places = torch.arange(outer * inner, dtype=torch.int32).view(outer, 1, inner)
    bits = _mix(places + lane_keys.view(1, -1, 1))
    threshold = _signed(int(p * 2**32) ^ 0x80000000)  # flipping the top bit makes a signed comparison unsigned
    return (bits.bitwise_xor_(-0x80000000) >= threshold).view(shape)


_WEYL = -1640531527  # 2^32 / golden ratio, as a signed 32-bit integer


def _signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - 2**32 if value >= 2**31 else value


def _mix(x: Tensor) -> Tensor:
    """lowbias32, in place on a fresh int32 tensor; torch shifts arithmetically, so the sign bits are masked away."""
    x = x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF)).mul_(0x7FEB352D)
    x = x.bitwise_xor_((x >> 15).bitwise_and_(0x1FFFF)).mul_(_signed(0x846CA68B))
    return x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF))

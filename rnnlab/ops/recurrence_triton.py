"""The linear recurrence on a GPU, in Triton.

A program owns WIDTH channels and walks the time in tiles of TILE steps; within a tile an associative scan composes the
steps h -> a h + b, so that a whole tile of loads is under way at once. The arithmetic is in double precision: the
kernel waits for memory, not for arithmetic.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from rnnlab.ops.triton_devices import launch

TILE = 32  # steps
WIDTH = 32  # channels


def forward(a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
    """h (T, B, D) for contiguous float32 a, b (T, B, D) and h0 (B, D)."""
    h = torch.empty_like(b)
    launch(_forward, _programs(h0), a, b, h0, h, len(a), h0.numel(), TILE=TILE, WIDTH=WIDTH)
    return h


def backward(a: Tensor, h: Tensor, h0: Tensor, grad_h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for a, b and h0."""
    gradients = torch.empty_like(a), torch.empty_like(a), torch.empty_like(h0)
    launch(_backward, _programs(h0), a, h, h0, grad_h, *gradients, len(a), h0.numel(), TILE=TILE, WIDTH=WIDTH)
    return gradients


def _programs(h0: Tensor) -> int:
    return (h0.numel() + WIDTH - 1) // WIDTH


@triton.jit  # type: ignore[untyped-decorator]
def _compose(a_first, b_first, a_second, b_second):  # type: ignore[no-untyped-def]
    return a_first * a_second, a_second * b_first + b_second


@triton.jit  # type: ignore[untyped-decorator]
def _forward(a_ptr, b_ptr, h0_ptr, h_ptr, steps, channels, TILE: tl.constexpr, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    channel = tl.program_id(0).to(tl.int64) * WIDTH + tl.arange(0, WIDTH)
    exists = channel < channels
    carry = tl.load(h0_ptr + channel, mask=exists, other=0.0).to(tl.float64)
    row = tl.arange(0, TILE)
    for start in range(0, steps, TILE):
        t = start + row
        inside = (t < steps)[:, None] & exists[None, :]
        place = t.to(tl.int64)[:, None] * channels + channel[None, :]
        a = tl.load(a_ptr + place, mask=inside, other=1.0).to(tl.float64)
        b = tl.load(b_ptr + place, mask=inside, other=0.0).to(tl.float64)
        decay, drive = tl.associative_scan((a, b), 0, _compose)
        h = decay * carry[None, :] + drive
        tl.store(h_ptr + place, h.to(tl.float32), mask=inside)
        carry = tl.sum(tl.where((row == TILE - 1)[:, None], h, 0.0), axis=0)


@triton.jit  # type: ignore[untyped-decorator]
def _backward(  # type: ignore[no-untyped-def]
    a_ptr, h_ptr, h0_ptr, grad_h_ptr, grad_a_ptr, grad_b_ptr, grad_h0_ptr,
    steps, channels, TILE: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    # Time runs backwards here: g_t = grad_h_t + a_{t+1} g_{t+1}; rows past the first step leave g as it is.
    channel = tl.program_id(0).to(tl.int64) * WIDTH + tl.arange(0, WIDTH)
    exists = channel < channels
    h0 = tl.load(h0_ptr + channel, mask=exists, other=0.0)
    carry = tl.zeros([WIDTH], dtype=tl.float64)
    row = tl.arange(0, TILE)
    for start in range(0, steps, TILE):
        t = steps - 1 - start - row
        inside = (t >= 0)[:, None] & exists[None, :]
        place = t.to(tl.int64)[:, None] * channels + channel[None, :]
        a_next = tl.load(a_ptr + place + channels, mask=inside & (t < steps - 1)[:, None], other=1.0).to(tl.float64)
        grad_h = tl.load(grad_h_ptr + place, mask=inside, other=0.0).to(tl.float64)
        decay, drive = tl.associative_scan((a_next, grad_h), 0, _compose)
        g = decay * carry[None, :] + drive
        before = tl.load(h_ptr + place - channels, mask=inside & (t > 0)[:, None], other=0.0)
        before = tl.where((t == 0)[:, None], h0[None, :], before).to(tl.float64)
        tl.store(grad_b_ptr + place, g.to(tl.float32), mask=inside)
        tl.store(grad_a_ptr + place, (g * before).to(tl.float32), mask=inside)
        carry = tl.sum(tl.where((row == TILE - 1)[:, None], g, 0.0), axis=0)
    a_first = tl.load(a_ptr + channel, mask=exists, other=0.0).to(tl.float64)
    tl.store(grad_h0_ptr + channel, (a_first * carry).to(tl.float32), mask=exists)

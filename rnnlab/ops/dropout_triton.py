"""The mask of rnnlab.ops.dropout on a GPU, in Triton: a value is read once and written once, and no mask is stored.

A program owns ROWS rows of WIDTH values. A row is what one sequence has at one place before the dimension of the batch,
so that the key of a sequence is computed once a row. The hash is in unsigned 32-bit arithmetic, which wraps; places in
memory are counted in 64 bits.
"""

import triton
import triton.language as tl
from torch import Tensor

from rnnlab.ops.triton_devices import launch

TILE = 2048  # values of a program
MOST_ROWS = 2**30  # counted in 32 bits: a division in 64 bits costs as much as the hash of several values


def apply_mask(
    x: Tensor, y: Tensor, layout: tuple[int, int, int], columns: int, padding: tuple[int, int],
    key: int | Tensor, first: int, threshold: int, scale: float,
) -> None:  # fmt: skip
    """y = x under its mask, times `scale`; x and y contiguous, float32 or narrower.

    Args:
        layout: sizes before, at and after the dimension of the batch.
        columns: size of the last dimension.
        padding: how many of the columns, in front and behind, count for nothing.
        key: of this application; a Tensor of one int64 on the device is read when the kernel runs.
        first: number of the first sequence.
        threshold: hashes below it are dropped, as a signed 32-bit integer with the same bits.
    """
    outer, count, inner = layout
    if not x.numel():
        return
    width = min(max(triton.next_power_of_2(inner), 16), TILE)
    rows = TILE // width
    programs = triton.cdiv(outer * count, rows) * triton.cdiv(inner, width)
    at_launch = isinstance(key, int)
    launch(
        _drop, programs, x, y, x if at_launch else key, key if at_launch else 0, first, threshold, scale,
        outer * count, count, inner, columns, *padding,
        PADDED=any(padding), READ_KEY=not at_launch, LONG=outer * count > MOST_ROWS, ROWS=rows, WIDTH=width,
    )  # fmt: skip


# Triton compiles a kernel of its own for arguments that are 1, which it makes constants, or multiples of 16. Keys are
# random, so that it would do that in the middle of training; what is converted here must be no constant.
@triton.jit(do_not_specialize=["key_ptr", "key", "first", "threshold", "columns", "front", "behind"])  # type: ignore[untyped-decorator]
def _drop(  # type: ignore[no-untyped-def]
    x_ptr, y_ptr, key_ptr, key, first, threshold, scale, rows, count, inner, columns, front, behind,
    PADDED: tl.constexpr, READ_KEY: tl.constexpr, LONG: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    across = tl.cdiv(inner, WIDTH)
    program = tl.program_id(0)
    row = program // across
    if LONG:
        row = row.to(tl.int64)
    row = row * ROWS + tl.arange(0, ROWS)
    column = (program % across).to(tl.int64) * WIDTH + tl.arange(0, WIDTH)
    if READ_KEY:
        key = tl.load(key_ptr)
    sequence = (row % count).to(tl.uint32) + first.to(tl.uint32)
    number = column.to(tl.uint32)  # without the padding, as is the size of what a sequence has
    size = inner
    if PADDED:
        counted = columns - front - behind
        number = (
            number // columns.to(tl.uint32) * counted.to(tl.uint32)
            + number % columns.to(tl.uint32)
            - front.to(tl.uint32)
        )
        size = inner // columns * counted
    start = _mix(sequence * 0x9E3779B9 + key.to(tl.uint32)) + (row // count * size).to(tl.uint32)
    bits = _mix(start[:, None] + number[None, :])
    exists = (row < rows)[:, None] & (column < inner)[None, :]
    place = row.to(tl.int64)[:, None] * inner + column[None, :]
    x = tl.load(x_ptr + place, mask=exists, other=0.0).to(tl.float32)
    y = tl.where(bits >= threshold.to(tl.uint32), x * scale, 0.0)
    tl.store(y_ptr + place, y.to(y_ptr.dtype.element_ty), mask=exists)


@triton.jit  # type: ignore[untyped-decorator]
def _mix(x):  # type: ignore[no-untyped-def]
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    return x ^ (x >> 16)

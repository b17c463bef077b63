"""How exactly matrices are multiplied, and by which library on the CPU.

torch sends fp32 products to MKL, which on processors of other makers runs at a fraction of what oneDNN reaches, also in
torch. The switch that leads to oneDNN is named for a reduced precision that only processors with matrix tiles (AMX)
would use; elsewhere it computes in full fp32. So it is thrown only where there are no tiles, and only after products
were seen to be as exact as before.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

SHAPES = ((2048, 256, 1024), (8, 256, 1024), (256, 2048, 64))  # products (m, k) x (k, n) of a training step
EXACT = 2e-6  # error of an fp32 product relative to its largest value; bf16's is a thousand times that


@functools.cache
def use_fast_products() -> bool:
    """Route fp32 products to oneDNN if that loses nothing; says whether it did. Cheap, and done once a process."""
    if _has_matrix_tiles() or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    before = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
    if _worst_error() <= EXACT:
        return True
    torch.backends.mkldnn.matmul.fp32_precision = before  # type: ignore[attr-defined]
    return False


@contextmanager
def for_many_shapes() -> Iterator[None]:
    """Within the block products go where torch sends them by itself.

    oneDNN compiles a kernel of a megabyte for every shape: more than it saves where a memory grows step by step.
    """
    before = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    torch.backends.mkldnn.matmul.fp32_precision = "none"  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before  # type: ignore[attr-defined]


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Within the block a GPU multiplies float32 numbers as they are, or with "tf32" rounded to TF32.

    Left to itself torch rounds in cuDNN's recurrent layers. The settings are those of the process, and are put back.
    """
    places: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn.rnn)  # type: ignore[attr-defined]
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        yield
    finally:
        for place, setting in zip(places, before, strict=True):
            place.fp32_precision = setting


def _worst_error() -> float:
    draws = torch.Generator().manual_seed(0)
    worst = 0.0
    for m, k, n in SHAPES:
        a, b = torch.randn(m, k, generator=draws), torch.randn(k, n, generator=draws)
        exact = a.double() @ b.double()
        worst = max(worst, float((a @ b - exact).abs().max() / exact.abs().max()))
    return worst


def _has_matrix_tiles() -> bool:
    """Whether the processor has AMX; where that cannot be seen, assume so."""
    try:
        return "amx" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return True

"""F24: a run of any length takes the memory and the file descriptors of a short one.

What a process holds is asked of its allocator (mallinfo2). The resident memory is no measure of it: what the allocator
keeps of a save for the next one comes and goes by several MB.
"""

import ctypes
import gc
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from rnnlab.views.board import BoardObserver
from tests.rnnlab.tiny_runs import new_loop

LIBC = ctypes.CDLL(None)
MALLINFO2 = [
    "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
]  # fmt: skip
STEPS = 4_000
WARM = 2_000  # [steps] until the memory is full and the allocator has what it needs
LOOK = 50  # [steps] from one look to the next: the collector takes longer than the steps between

pytestmark = [pytest.mark.faults, pytest.mark.long]


class Mallinfo2(ctypes.Structure):
    """Of glibc 2.33 and later: malloc.h. Sizes in bytes."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO2)


def allocated_mb() -> float:
    """In use, of all threads."""
    LIBC.mallinfo2.restype = Mallinfo2
    info = LIBC.mallinfo2()
    return (info.uordblks + info.hblkhd) / 2**20


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def watch_a_long_run(run: Path, text: Path) -> list[tuple[float, float, int]]:
    """(allocated [MB], resident [MB], descriptors) at every look after the first ones."""
    bindings = ["Trainer.epochs = 1000", "Trainer.jitter = False", "Trainer.log_every = 10"]
    often = ["Trainer.save_every = 100", "Trainer.eval_every = 20_000"]
    loop = new_loop(run, text, f"Trainer.steps = {STEPS}", *bindings, *often)
    seen: list[tuple[float, float, int]] = []

    def observe(record: dict[str, Any]) -> None:
        if record["kind"] == "train" and record["step"] > WARM and record["step"] % LOOK == 0:
            gc.collect()  # what waits for the collector is no leak, and it waits for as long as it likes
            seen.append((allocated_mb(), resident_mb(), descriptors()))

    with loop.folder.hold(), BoardObserver(loop.folder) as board:
        loop.observers = [observe, board]
        loop.run()
    return seen


@pytest.mark.skipif(not hasattr(LIBC, "mallinfo2"), reason="asks the allocator of glibc, 2.33 or later")
def test_f24_memory_and_descriptors_stay_flat(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONMALLOC", "malloc")  # Python's objects are counted too
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # what other tests left is not counted
        seen = pool.submit(watch_a_long_run, tmp_path / "run", text).result()
    half = len(seen) // 2
    assert half == (STEPS - WARM) // LOOK // 2
    before, after = (list(zip(*part, strict=True)) for part in (seen[:half], seen[half:]))
    allocated, resident = (
        (min(late) - min(early)) / (LOOK * half) * 1000 for early, late in zip(before[:2], after[:2], strict=True)
    )
    assert allocated < 0.1, seen[:: half // 4]  # [MB a thousand steps], between two saves
    assert resident < 10.0, seen[:: half // 4]  # what is mapped rather than allocated
    assert set(before[2]) == set(after[2])

"""F24: a run of any length takes the memory and the file descriptors of a short one."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from rnnlab.views.board import BoardObserver
from tests.rnnlab.tiny_runs import new_loop

STEPS = 5_000
WARM = 2_000  # [steps] until the memory is full and the allocator has what it needs

pytestmark = [pytest.mark.faults, pytest.mark.long]


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def watch_a_long_run(run: Path, text: Path) -> list[tuple[float, int]]:
    """(memory [MB], descriptors) at every tenth step after the first ones."""
    bindings = ["Trainer.epochs = 1000", "Trainer.jitter = False", "Trainer.log_every = 10"]
    often = ["Trainer.save_every = 100", "Trainer.eval_every = 20_000"]
    loop = new_loop(run, text, f"Trainer.steps = {STEPS}", *bindings, *often)
    seen: list[tuple[float, int]] = []

    def observe(record: dict[str, Any]) -> None:
        if record["kind"] == "train" and record["step"] > WARM:
            seen.append((resident_mb(), descriptors()))

    with loop.folder.hold(), BoardObserver(loop.folder) as board:
        loop.observers = [observe, board]
        loop.run()
    return seen


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads what Linux says of a process")
def test_f24_memory_and_descriptors_stay_flat(text: Path, tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # what other tests left is not counted
        seen = pool.submit(watch_a_long_run, tmp_path / "run", text).result()
    half = len(seen) // 2
    assert half == (STEPS - WARM) // 20
    before, after = (min(memory for memory, _ in part) for part in (seen[:half], seen[half:]))  # between two saves
    assert (after - before) / (10 * half) * 1000 < 1.0, seen[:: half // 4]  # [MB a thousand steps]
    assert {count for _, count in seen[:half]} == {count for _, count in seen[half:]}

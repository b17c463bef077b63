"""F41: not enough memory in the middle of a run. It ends with its state saved, and goes on where there is more."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import OutOfMemoryError

from rnnlab import api
from rnnlab.errors import OutOfMemory, is_out_of_memory
from rnnlab.storage.runfolder import RunFolder
from rnnlab.training.learner import Learner
from rnnlab.training.loop import Loop
from tests.processes import Child, Processes, expect_equal
from tests.rnnlab.tiny_runs import new_loop, write_text

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux says how much memory a process has"),
]

MB = 2**20
LARGE = ("Trainer.batch_size = 48", "Trainer.bptt = 1000", "Trainer.jitter = False", "Trainer.steps = 6",
         "Trainer.save_every = 4", "Trainer.eval_bytes = 1000", "Trainer.eval_every = 1000000")  # fmt: skip
"""Logits of 49 MB, which the allocator takes from the system anew each time; a state of some 100 kB."""

STEP = "rnnlab.training.learner:Learner.step"


@pytest.fixture(scope="module")
def long_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("long"), size=400_000)


@pytest.fixture(scope="module")
def left_alone(processes: Processes, long_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("left_alone") / "run"
    child = processes.train(run, long_text, *LARGE)
    assert child.wait() == 0, child.err
    return run


def expect_out_of_memory(child: Child, run: Path, step: int) -> None:
    assert child.wait() == 7, child.err
    assert "Traceback" not in child.err
    result = json.loads((run / "result.json").read_text())
    assert (result["status"], result["steps"]) == ("out of memory", step)
    said = child.err.strip().splitlines()[-1]
    assert f"not enough memory after step {step} (" in said
    assert f"`rnnlab resume {run}` goes on" in said
    assert "Trainer.batch_size" in said
    assert "`rnnlab plan FRAGMENT... --gpu NAME` says what fits" in said


def finish(processes: Processes, run: Path, left_alone: Path) -> None:
    child = processes.resume(run)
    assert child.wait() == 0, child.err
    expect_equal(run, left_alone)


def test_f41_a_step_without_enough_memory_ends_the_run_with_its_state_saved(
    processes: Processes, long_text: Path, left_alone: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    child = processes.train(run, long_text, *LARGE, faults=[{"target": STEP, "call": 3, "room": 24 * MB}])
    expect_out_of_memory(child, run, step=2)
    assert "the newest checkpoint is that of step 2;" in child.err
    finish(processes, run, left_alone)


def ask_for_too_much(*arguments: Any) -> None:
    torch.empty(2**50)  # [4 PiB] more than any allocator has


def in_a_part(loop: Loop) -> None:
    loop.learner.model.blocks[1].register_forward_hook(ask_for_too_much)


def in_the_update(loop: Loop) -> None:
    loop.learner.optimizer.register_step_post_hook(ask_for_too_much)


@pytest.mark.parametrize(("place", "newest"), [(in_a_part, 10), (in_the_update, 7)])
def test_f41_a_state_is_saved_unless_an_update_has_changed_it(
    place: Callable[[Loop], None], newest: int, text: Path, whole: Path, tmp_path: Path
) -> None:
    loop = new_loop(tmp_path / "run", text)

    def observe(record: dict[str, Any]) -> None:
        if record["kind"] == "train" and record["step"] == 10:
            place(loop)

    loop.observers = [observe]
    with loop.folder.hold(), pytest.raises(OutOfMemory, match=f"newest checkpoint is that of step {newest};"):
        loop.run()
    assert loop.folder.newest().step == newest
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "out of memory"
    api.resume(tmp_path / "run")
    expect_equal(tmp_path / "run", whole)


def test_f41_a_state_that_cannot_be_saved_either_leaves_the_checkpoints_of_before(
    text: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = new_loop(tmp_path / "run", text)

    def observe(record: dict[str, Any]) -> None:
        if record["kind"] == "train" and record["step"] == 10:
            in_a_part(loop)
            monkeypatch.setattr(Learner, "snapshot", ask_for_too_much)

    loop.observers = [observe]
    with loop.folder.hold(), pytest.raises(OutOfMemory, match="newest checkpoint is that of step 7;"):
        loop.run()
    assert "what the run had reached cannot be saved" in capsys.readouterr().err
    monkeypatch.undo()
    api.resume(tmp_path / "run")
    expect_equal(tmp_path / "run", whole)


def test_f41_what_torch_and_cuda_say_is_told_from_other_errors() -> None:
    shortages = [
        MemoryError(),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of ..."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: not enough memory: you tried to "
                     "allocate 4000000000000 bytes."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ]  # fmt: skip
    assert all(map(is_out_of_memory, shortages))
    others = [RuntimeError("CUDA error: an illegal memory access was encountered"), ValueError("out of memory"),
              RuntimeError("mat1 and mat2 shapes cannot be multiplied")]  # fmt: skip
    assert not any(map(is_out_of_memory, others))


def test_f41_a_run_folder_says_which_checkpoint_is_the_newest(left_alone: Path) -> None:
    assert RunFolder.open(left_alone).newest_step() == 6

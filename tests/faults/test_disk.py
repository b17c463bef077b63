"""F6, F7, F8 through the command line: foreign checkpoints, a disk that is full, a folder that cannot be written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rnnlab.storage import checkpoint
from tests.processes import Child, Processes, expect_equal
from tests.rnnlab.tiny_runs import state_hash, write_text

pytestmark = pytest.mark.faults

SMALL = 80_000  # [bytes] less than a checkpoint of a tiny run, more than all else that it writes
STOP_AT_10 = {"target": "rnnlab.training.learner:Learner.step", "call": 10, "signals": ["SIGTERM"]}


@pytest.fixture
def stopped(processes: Processes, text: Path, tmp_path: Path) -> Path:
    """A run with checkpoints of steps 7 and 10."""
    run = tmp_path / "run"
    assert processes.train(run, text, faults=[STOP_AT_10]).wait() == 143
    return run


def expect_storage_error(child: Child, *words: str) -> None:
    assert child.wait() == 5, child.err
    assert "Traceback" not in child.err
    for word in words:
        assert word in child.err


def expect_whole_checkpoints(run: Path, steps: list[int]) -> None:
    assert sorted(checkpoint.load(path).step for path in (run / "checkpoints").iterdir()) == steps


def test_f7_a_disk_that_is_full_from_the_start_ends_the_run_at_the_third_save(
    processes: Processes, text: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    child = processes.train(run, text, largest_file=SMALL)
    expect_storage_error(child, "file too large", "going on, the checkpoint before is whole")
    assert len(child.err.strip().splitlines()) == 2, "one warning and one error"
    resumed = processes.resume(run)
    assert resumed.wait() == 0, resumed.err
    expect_equal(run, whole)


def test_f7_a_disk_that_fills_up_leaves_the_checkpoints_of_before(
    processes: Processes, whole: Path, stopped: Path
) -> None:
    child = processes.resume(stopped, largest_file=SMALL)
    expect_storage_error(child, "step-00000028: cannot be saved")  # after 14 and 21
    assert child.err.count("going on") == 1
    expect_whole_checkpoints(stopped, [7, 10])
    resumed = processes.resume(stopped)
    assert resumed.wait() == 0, resumed.err
    expect_equal(stopped, whole)


def test_f7_a_run_that_is_stopped_while_the_disk_is_full_does_not_claim_a_checkpoint(
    processes: Processes, whole: Path, stopped: Path
) -> None:
    child = processes.resume(stopped, largest_file=SMALL, faults=[{**STOP_AT_10, "call": 3}])
    expect_storage_error(child, "step-00000013: cannot be saved")
    expect_whole_checkpoints(stopped, [7, 10])
    assert not (stopped / "result.json").exists()
    assert processes.resume(stopped).wait() == 0
    expect_equal(stopped, whole)


def test_f7_a_run_whose_last_checkpoint_cannot_be_written_is_not_done(
    processes: Processes, whole: Path, stopped: Path
) -> None:
    child = processes.resume(stopped, "--set", "Trainer.save_every = 100", largest_file=SMALL)
    expect_storage_error(child, "step-00000030: cannot be saved")
    assert not (stopped / "result.json").exists()
    assert processes.resume(stopped).wait() == 0
    expect_equal(stopped, whole)


@pytest.mark.parametrize("below", ["file", "file/run"])
def test_f8_a_folder_that_cannot_be_made_is_told_before_the_first_step(
    below: str, processes: Processes, text: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    child = processes.train(tmp_path / below, text)
    expect_storage_error(child, str(tmp_path / below))
    assert len(child.err.strip().splitlines()) == 1
    assert (tmp_path / "file").read_text() == "in the way"


def another_seed(run: Path, other: Path) -> None:
    shutil.copytree(other / "checkpoints", run / "checkpoints", dirs_exist_ok=True)


def an_edited_configuration(run: Path, other: Path) -> None:
    path = run / "config.gin"
    path.write_text(path.read_text().replace("memory = 40", "memory = 41"))


@pytest.mark.parametrize("foreign", [another_seed, an_edited_configuration])
def test_f6_a_checkpoint_of_another_experiment_is_refused_and_nothing_changed(
    foreign: Callable[[Path, Path], None], processes: Processes, text: Path, stopped: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    assert processes.train(other, text, "Trainer.seed = 5").wait() == 0
    foreign(stopped, other)
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file() and path.name != "lock"}
    expect_storage_error(processes.resume(stopped), "of another experiment: its configuration has sha256")
    assert {path: path.read_bytes() for path in before} == before


def test_f6_a_run_on_another_text_is_refused(processes: Processes, tmp_path: Path) -> None:
    run, text = tmp_path / "run", write_text(tmp_path)
    assert processes.train(run, text, faults=[STOP_AT_10]).wait() == 143
    before = state_hash(run)
    text.write_bytes(write_text(tmp_path, seed=1).read_bytes())
    child = processes.resume(run)
    assert child.wait() == 3
    assert f"{text} is not what the run trained on" in child.err
    assert state_hash(run) == before

"""F30: a run belongs to the content of its text, wherever that lies; no other content passes for it."""

import json
import mmap
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.processes import Processes, expect_equal
from tests.rnnlab.tiny_runs import FRAGMENTS, bindings, write_text

pytestmark = pytest.mark.faults

STOP_AT_10 = {"target": "rnnlab.training.learner:Learner.step", "call": 10, "signals": ["SIGTERM"]}

PAUSE_IN_STEP_9 = {**STOP_AT_10, "call": 9, "signals": ["SIGSTOP"]}


@pytest.fixture
def own_text(tmp_path: Path) -> Path:
    """The text of the other tests, as a file that may be changed."""
    return write_text(tmp_path)


@pytest.fixture
def stopped(processes: Processes, own_text: Path, tmp_path: Path) -> Path:
    run = tmp_path / "run"
    assert processes.train(run, own_text, faults=[STOP_AT_10]).wait() == 143
    return run


READERS = {
    "eval": ["eval"],
    "eval of memories": ["eval", "--memory", "1,8"],
    "probe": ["probe", "--split", "train"],
    "replay": ["replay", "--step", "3"],
    "resume": ["resume"],
}


@pytest.mark.parametrize("command", READERS.values(), ids=READERS)
def test_f30_a_text_that_is_another_by_now_is_refused_by_all_that_read_it(
    command: list[str], processes: Processes, own_text: Path, stopped: Path
) -> None:
    own_text.write_bytes(own_text.read_bytes()[:6_000])
    child = processes.start(command[0], str(stopped), *command[1:])
    assert child.wait() == 3, child.err
    assert f"{own_text} is not what the run trained on: its SHA-256 is" in child.err
    assert child.out == ""


@pytest.mark.parametrize("command", READERS.values(), ids=READERS)
def test_f30_a_text_that_has_moved_is_found_by_its_hash(
    command: list[str], processes: Processes, own_text: Path, stopped: Path, whole: Path
) -> None:
    moved = own_text.rename(own_text.with_name("moved"))
    arguments = [command[0], str(stopped), *command[1:]]
    lost = processes.start(*arguments)
    assert lost.wait() == 3, lost.err
    assert f"there is no file {own_text}" in lost.err
    assert "--corpus FILE says where" in lost.err
    found = processes.start(*arguments, "--corpus", str(moved))
    assert found.wait() == 0, found.err
    assert "another text" not in found.err
    if command == ["resume"]:
        expect_equal(stopped, whole)
        assert processes.start("eval", str(stopped)).wait() == 0, "where it lies is remembered"


def test_f30_a_path_that_was_edited_in_the_configuration_is_a_place_and_no_change(
    processes: Processes, own_text: Path, stopped: Path, whole: Path
) -> None:
    moved = own_text.rename(own_text.with_name("moved"))
    config = (stopped / "config.gin").read_text()
    (stopped / "config.gin").write_text(config.replace(str(own_text), str(moved)))
    resumed = processes.resume(stopped)
    assert resumed.wait() == 0, resumed.err
    expect_equal(stopped, whole)


def test_f30_another_text_than_the_runs_own_is_named(processes: Processes, stopped: Path, tmp_path: Path) -> None:
    other = write_text(tmp_path, seed=1)
    child = processes.start("eval", str(stopped), "--corpus", str(other), "--split", "all", "--json")
    assert child.wait() == 0, child.err
    assert f"{other} is another text than the one that {stopped} was trained on" in child.err
    answer = json.loads(child.out)
    assert answer["bytes_scored"] == 12_000 // 8 * 8 - 8
    assert answer["corpus"] == str(other)


def test_f30_a_relative_path_is_relative_to_what_named_it(
    processes: Processes, own_text: Path, whole: Path, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    root = tmp_path / "there" / "mine.gin"
    root.write_text(f"File.path = '../{own_text.name}'\n")
    run = tmp_path / "run"
    sets = [part for binding in bindings(own_text) if "File.path" not in binding for part in ("--set", binding)]
    stopped = processes.start(
        "train", *FRAGMENTS, "there/mine.gin", *sets, "--run", str(run), faults=[STOP_AT_10], folder=tmp_path
    )
    assert stopped.wait() == 143, stopped.err
    resumed = processes.start("resume", "run", folder=tmp_path)
    assert resumed.wait() == 0, resumed.err
    expect_equal(run, whole)


def test_f30_a_text_that_was_changed_through_memory_is_noticed_before_the_run_is_done(
    processes: Processes, own_text: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with open(own_text, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[100:101] = mapped[100:101]  # the page is dirty from now on, and the next write changes no stamp
        child = processes.train(
            run,
            own_text,
            faults=[PAUSE_IN_STEP_9],
        )
        child.wait_until_paused()
        mapped[100:110] = b"OTHER TEXT"
        child.signal(signal.SIGCONT)
        assert child.wait() == 3, child.err
    assert f"{own_text} changed while it was in use" in child.err
    assert not (run / "result.json").exists()


def test_f30_the_old_file_of_a_text_that_was_replaced_by_its_equal_may_go(
    processes: Processes, own_text: Path, whole: Path, tmp_path: Path
) -> None:
    run, old = tmp_path / "run", tmp_path / "old"
    os.link(own_text, old)
    child = processes.train(run, own_text, faults=[PAUSE_IN_STEP_9])
    child.wait_until_paused()
    shutil.copy(own_text, tmp_path / "copy")
    (tmp_path / "copy").rename(own_text)
    os.truncate(old, 0)
    child.signal(signal.SIGCONT)
    assert child.wait() == 0, child.err
    expect_equal(run, whole)


def test_f30_a_packed_text_is_said(processes: Processes, own_text: Path, tmp_path: Path) -> None:
    packed = tmp_path / "text.gz"
    packed.write_bytes(b"\x1f\x8b" + own_text.read_bytes())
    child = processes.train(tmp_path / "run", packed, "Trainer.steps = 1")
    assert child.wait() == 0, child.err
    assert f"{packed} is packed (gzip)" in child.err

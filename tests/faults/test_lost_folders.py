"""F27: a run's folder or lock that is no longer the one that was opened. The run ends at its next save."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from rnnlab.storage.runfolder import RunFolder
from rnnlab.views.board import mark_killed
from rnnlab.views.events import EventFile
from tests.processes import Child, Processes, expect_equal

pytestmark = pytest.mark.faults

PAUSE_IN_STEP_9 = {
    "target": "rnnlab.training.learner:Learner.step",
    "call": 9,
    "signals": ["SIGSTOP"],
    "once_saved": True,  # that of step 7
}
KILL_IN_STEP_9 = {**PAUSE_IN_STEP_9, "signals": ["SIGKILL"]}


@pytest.fixture
def paused(processes: Processes, text: Path, tmp_path: Path) -> Child:
    """A run in its ninth step, with checkpoints of steps 0 and 7; the next save is due at step 14."""
    child = processes.train(tmp_path / "run", text, faults=[PAUSE_IN_STEP_9])
    child.wait_until_paused()
    return child


def expect_lost(child: Child, run: Path) -> None:
    child.signal(signal.SIGCONT)
    assert child.wait() == 5, child.err
    assert f"{run}: the folder or its lock was removed, moved or replaced" in child.err
    assert "Traceback" not in child.err


def expect_goes_on(processes: Processes, run: Path, whole: Path) -> None:
    resumed = processes.resume(run)
    assert resumed.wait() == 0, resumed.err
    expect_equal(run, whole)


def test_f27_a_run_whose_folder_was_removed_ends_and_makes_none_anew(paused: Child, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.rmtree(run)
    expect_lost(paused, run)
    assert not run.exists()


def test_f27_a_run_whose_folder_was_moved_ends_and_goes_on_from_there(
    processes: Processes, paused: Child, whole: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    expect_lost(paused, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    expect_goes_on(processes, tmp_path / "elsewhere", whole)


def test_f27_a_run_in_whose_place_another_run_was_put_leaves_that_alone(
    paused: Child, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.rename(tmp_path / "elsewhere")
    shutil.copytree(whole, run)
    expect_lost(paused, run)
    expect_equal(run, whole)
    assert (run / "result.json").read_bytes() == (whole / "result.json").read_bytes()


def removed(run: Path, whole: Path) -> None:
    shutil.rmtree(run)


def replaced(run: Path, whole: Path) -> None:
    run.rename(run.with_name("elsewhere"))
    shutil.copytree(whole, run)


@pytest.mark.parametrize("change", [removed, replaced])
@pytest.mark.parametrize(
    "place",
    ["rnnlab.storage.checkpoint:save", "rnnlab.storage.tensorfile:write", "rnnlab.storage.checkpoint:_prune"],
)
def test_f27_a_run_whose_folder_is_changed_while_a_checkpoint_is_written_writes_nowhere_else(
    place: str, change: Callable[[Path, Path], None], processes: Processes, text: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    child = processes.train(run, text, faults=[{"target": place, "call": 2, "signals": ["SIGSTOP"]}])
    child.wait_until_paused()
    change(run, whole)
    expect_lost(child, run)
    assert "going on" not in child.err
    if change is removed:
        assert not run.exists()
    else:
        expect_equal(run, whole)
        expect_goes_on(processes, tmp_path / "elsewhere", whole)


def test_f27_deleting_the_lock_of_a_run_lets_no_second_writer_in(
    processes: Processes, paused: Child, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (run / "lock").unlink()
    second = processes.resume(run)
    assert second.wait() == 6, second.err
    assert "another process, whose lock file was removed" in second.err
    expect_lost(paused, run)
    expect_goes_on(processes, run, whole)


def lock(run: Path) -> Path:
    return run / "lock"


def journal(run: Path) -> Path:
    return run / "metrics.jsonl"


@pytest.mark.parametrize("place", [lock, journal])
def test_f27_a_link_in_the_place_of_a_file_is_refused_and_its_target_left_alone(
    place: Callable[[Path], Path], processes: Processes, paused: Child, tmp_path: Path
) -> None:
    paused.kill()
    precious = tmp_path / "precious"
    precious.write_text("mine")
    place(tmp_path / "run").unlink()
    place(tmp_path / "run").symlink_to(precious)
    resumed = processes.resume(tmp_path / "run")
    assert (resumed.wait() == 5) == (place is lock), resumed.err
    assert precious.read_text() == "mine"
    if place is lock:
        assert "a link is in the way" in resumed.err


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["checkpoints", "tb"])
@pytest.mark.parametrize("command", ["resume", "board"])
def test_f27_a_link_in_the_place_of_a_folder_is_refused_and_its_target_left_alone(
    command: str, name: str, processes: Processes, paused: Child, tmp_path: Path
) -> None:
    paused.kill()
    run, precious = tmp_path / "run", tmp_path / "precious"
    (run / name).rename(precious)  # with names as a run gives them: what it would prune and sweep
    if name == "checkpoints":
        (precious / ".tmp-step-00000003").mkdir()
        (precious / ".tmp-step-00000003" / "manifest.json").write_text("mine")
    (run / name).symlink_to(precious)
    before = contents(precious)
    if command == "resume":
        resumed = processes.resume(run)
        assert resumed.wait() == 5, resumed.err
        assert f"{run / name}: a link is in the way" in resumed.err
        assert "Traceback" not in resumed.err
    else:
        mark_killed(RunFolder.open(run))
    assert contents(precious) == before


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("probe", ["probe", "--split", "train"]),
        ("probe", ["probe", "--text", __file__]),
        ("memory", ["eval", "--memory", "1,2"]),
    ],
)
def test_f27_a_link_in_the_place_of_pictures_is_refused_and_its_target_left_alone(
    name: str, command: list[str], processes: Processes, whole: Path, tmp_path: Path
) -> None:
    run, precious = tmp_path / "run", tmp_path / "precious"
    shutil.copytree(whole, run)
    precious.mkdir()
    (run / name).symlink_to(precious)
    child = processes.start(command[0], str(run), *command[1:])
    assert child.wait() == 5, child.err
    assert f"{run / name}: a link is in the way" in child.err
    assert not list(precious.iterdir())


def test_f27_a_link_that_takes_the_place_of_the_checkpoints_ends_the_run(
    processes: Processes, paused: Child, whole: Path, tmp_path: Path
) -> None:
    run, precious = tmp_path / "run", tmp_path / "precious"
    (run / "checkpoints").rename(precious)
    (run / "checkpoints").symlink_to(precious)
    before = contents(precious)
    paused.signal(signal.SIGCONT)
    assert paused.wait() == 5, paused.err
    assert f"{run / 'checkpoints'}: a link is in the way" in paused.err
    assert contents(precious) == before
    (run / "checkpoints").unlink()
    precious.rename(run / "checkpoints")
    expect_goes_on(processes, run, whole)


def test_f27_a_picture_is_not_written_through_a_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "tb").symlink_to(tmp_path / "precious")
    with EventFile(tmp_path / "tb", "pictures") as file:
        file.scalars({"a": 1.0}, 1)
    assert list((tmp_path / "precious").iterdir()) == []
    assert "a link is in the way" in capsys.readouterr().err


def test_f27_what_others_put_in_the_folder_of_a_run_stays(
    processes: Processes, text: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    foreign = [run / ".tmp-notes", run / "checkpoints/.tmp-notes/a", run / "checkpoints/step-mine"]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    (run / "checkpoints").rename(tmp_path / "kept")
    assert processes.train(run, text, faults=[KILL_IN_STEP_9]).wait() < 0
    for path in (tmp_path / "kept").iterdir():
        shutil.move(path, run / "checkpoints" / path.name)
    resumed = processes.resume(run)
    assert resumed.wait() == 0, resumed.err
    assert [path.read_text() for path in foreign] == ["mine"] * 3

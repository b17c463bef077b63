"""Ablations at work: what is trained, what is never trained again, and what happens to a killed worker."""

import json
import os
import signal
from pathlib import Path

import pytest

from rnnlab.errors import RnnlabError, RunHeldError
from rnnlab.storage.cells import read_cells
from rnnlab.studies.ablation.driver import _held, _may_try_again, run_ablation
from rnnlab.studies.ablation.plan import plan_ablation
from rnnlab.studies.launch.launcher import WorkerExit
from tests.processes import begin
from tests.rnnlab.cli.commands import answer
from tests.studies.small_studies import DROPPED, is_alive, small_ablation, wait_until, write_study


def results(folder: Path) -> dict[str, int]:
    """When each finished cell was finished [ns]."""
    found = sorted((folder / "cells").rglob("result.json"))
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in found}


@pytest.mark.long
def test_finished_cells_are_kept_and_what_is_new_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "study"
    first, _ = run_ablation(small_ablation(tmp_path), workers=2)
    assert first["cells"] == {"trained": 4, "kept": 0}
    before = results(folder)
    assert len(before) == 4
    assert sorted(cell.seed for _, cell in read_cells(folder / "cells.jsonl")) == [
        1,
        1,
        2,
        2,
    ]  # two workers end as they may

    more = {**DROPPED, "qrnn": ["core/qrnn"]}
    second, _ = run_ablation(small_ablation(tmp_path, deltas=more, seeds=3), workers=2)
    assert second["cells"] == {"trained": 5, "kept": 4}
    after = results(folder)
    assert {name: time for name, time in after.items() if name in before} == before
    assert len(after) == 9
    assert "changed" not in capsys.readouterr().err

    rows = second["tables"]["ablation"]["rows"]
    assert [row["variant"] for row in rows] == ["baseline", "dropped", "qrnn"]
    assert all(row["seeds"] == 3 for row in rows)
    assert rows[1]["p"] is not None
    assert rows[2]["bindings"] == ["Block.core = @core.QRNN"]
    for suffix in (".txt", ".md", ".csv", ".tex", ".json", ".png", ".svg"):
        assert (folder / f"ablation{suffix}").stat().st_size > 100

    third, _ = run_ablation(small_ablation(tmp_path, "LanguageModel.dim = 12"), workers=2)
    assert third["cells"] == {"trained": 4, "kept": 0}
    err = capsys.readouterr().err
    assert "the baseline changed" in err
    assert "LanguageModel.dim  8 -> 12" in err
    assert {name: time for name, time in results(folder).items() if name in after} == after


@pytest.mark.long
def test_a_cell_without_enough_memory_fails_with_that_reason_and_the_others_are_trained(tmp_path: Path) -> None:
    too_wide = {"too wide": ["LanguageModel.dim = 100000000"]}
    with pytest.raises(RnnlabError, match=r"1 of 2 cells failed; a worker exited with 7: not enough memory \("):
        run_ablation(small_ablation(tmp_path, deltas=too_wide, seeds=1), workers=1)
    assert [path.split("/")[1][:8] for path in results(tmp_path / "study")] == ["baseline"]
    assert (tmp_path / "study" / "ablation.json").exists()


@pytest.mark.long
def test_f30_the_text_of_an_ablation_may_move_but_not_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study(tmp_path, "Ablation", deltas=DROPPED, seeds=1)
    text = tmp_path / "moved"

    def cells_with(content: bytes) -> dict[str, int]:
        text.write_bytes(content)
        plan = plan_ablation(str(path), (), [f"File.path = {str(text)!r}"], run=tmp_path / "study")
        cells: dict[str, int] = run_ablation(plan, workers=1)[0]["cells"]
        return cells

    first = plan_ablation(str(path), run=tmp_path / "study")
    assert run_ablation(first, workers=1)[0]["cells"] == {"trained": 2, "kept": 0}
    content = next(tmp_path.glob("text-*")).read_bytes()
    assert cells_with(content) == {"trained": 0, "kept": 2}
    assert "changed" not in capsys.readouterr().err
    assert cells_with(content[::-1]) == {"trained": 2, "kept": 0}
    assert "the text changed since" in capsys.readouterr().err


@pytest.mark.long
def test_an_ablation_in_a_folder_of_any_name_trains_and_can_be_compared(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Ablation", deltas=DROPPED, seeds=1)
    run = tmp_path / os.fsdecode(b"what? #{x} 50%3F \xff")
    assert "2 cells trained" in begin("ablate", path, "--run", run, "--workers", "1").succeed()
    assert "dropped" in begin("compare", run, "--out", tmp_path / "out").succeed()


@pytest.mark.long
def test_an_ablation_whose_folder_was_renamed_goes_on_under_its_name(tmp_path: Path) -> None:
    run_ablation(small_ablation(tmp_path, seeds=1), workers=2)
    renamed = (tmp_path / "study").rename(tmp_path / "renamed")
    more = plan_ablation(str(tmp_path / "study.gin"), seeds=2, run=renamed)
    facts, _ = run_ablation(more, workers=2)
    assert facts["cells"] == {"trained": 2, "kept": 2}
    rows = {json.loads(path.read_text())["variant"] for path in renamed.glob("cells/*/*/environment.json")}
    assert rows == {"baseline (study)", "dropped (study)"}, "the same rows of TensorBoard's page as before"


@pytest.mark.long
def test_an_ablation_that_is_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Ablation", deltas=DROPPED, seeds=2, bytes=2560)
    folder = tmp_path / "study"
    arguments = ("ablate", path, "--run", folder, "--workers", "1", "--json")
    with begin(*arguments) as first:
        wait_until(lambda: results(folder))
        first.signal(signal.SIGTERM)
        code, out, err = first.finish()
    assert code == 143
    assert f"the same command goes on with {folder}" in err
    assert "2 variants x 2 seeds\n4 cells, 0 done, 4 to train" in err
    assert json.loads(out)["cells"]["done"] >= 1
    assert f"`rnnlab status {folder}` shows this again" in err
    finished = {name: time for name, time in results(folder).items() if '"done"' in (folder / name).read_text()}
    assert finished
    facts = json.loads(answer(*arguments))
    assert facts["cells"]["kept"] >= 1
    assert facts["cells"]["kept"] + facts["cells"]["trained"] == 4
    assert {name: time for name, time in results(folder).items() if name in finished} == finished


def the_worker(folder: Path) -> int | None:
    """Who holds a run of the study that has saved something."""
    for lock in folder.glob("cells/*/*/lock"):
        words = lock.read_text().split()
        if len(words) > 1 and is_alive(int(words[1])) and any((lock.parent / "checkpoints").glob("step-*")):
            return int(words[1])
    return None


@pytest.mark.long
def test_a_cell_whose_worker_is_killed_is_trained_to_its_end_all_the_same(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Ablation", deltas=DROPPED, seeds=1, bytes=2560)
    folder = tmp_path / "study"
    with begin("ablate", path, "--run", folder, "--workers", "1", "--json") as command:
        os.kill(wait_until(lambda: the_worker(folder)), signal.SIGKILL)
        facts = command.succeed()
    assert facts["cells"] == {"trained": 2, "kept": 0}
    assert [row["seeds"] for row in facts["tables"]["ablation"]["rows"]] == [1, 1]


@pytest.mark.long
def test_the_workers_of_a_parent_that_is_killed_save_and_stop(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Ablation", deltas=DROPPED, seeds=1, bytes=25_600)
    folder = tmp_path / "study"
    with begin("ablate", path, "--run", folder, "--workers", "1") as command:
        worker = wait_until(lambda: the_worker(folder))
        command.signal(signal.SIGKILL)
    wait_until(lambda: not is_alive(worker))
    (result,) = folder.glob("cells/*/*/result.json")
    assert json.loads(result.read_text())["status"] == "stopped"


@pytest.mark.slow
def test_two_processes_cannot_be_at_one_ablation(tmp_path: Path) -> None:
    made = small_ablation(tmp_path)
    with _held(made.folder), pytest.raises(RunHeldError, match="another process is at this study"):
        run_ablation(made)


@pytest.mark.parametrize(("code", "attempts", "again"), [(-9, 1, True), (-9, 3, False), (143, 2, True), (1, 1, False)])
def test_a_cell_is_tried_again_only_if_its_worker_was_killed(
    code: int, attempts: int, again: bool, tmp_path: Path
) -> None:
    ended = WorkerExit({}, code, tmp_path / "log", 0)
    assert _may_try_again(ended, attempts) == again


def test_an_error_that_every_cell_would_meet_ends_the_study_with_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of before\nrnnlab: error: /c/text: cannot be opened\n")
    with pytest.raises(RnnlabError, match=r"exited with 3: /c/text: cannot be opened") as caught:
        _may_try_again(WorkerExit({}, 3, log, 10), 1)
    assert caught.value.exit_code == 3

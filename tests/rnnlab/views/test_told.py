"""`compare` of results that travelled as `cells.jsonl`, beside the folders that they came from."""

import json
from pathlib import Path

import pytest

from rnnlab.errors import StorageError
from rnnlab.storage.cells import CELLS_FILE, finished_cell, write_cells
from rnnlab.storage.runfolder import RunFolder
from rnnlab.views.compare import compare
from rnnlab.views.runs import find_runs, read_run
from tests.rnnlab.run_folders import write_run
from tests.rnnlab.task_run_folders import write_task_study


def told(study: Path, away: Path) -> Path:
    """What the runs of the study reached, and no more, in a folder of the study's name."""
    cells = []
    for run in find_runs(study):
        folder, variant, seed = RunFolder.open(run), run.parent.name, int(run.name.removeprefix("seed-"))
        core = read_run(run, run.name).bindings["Block.core"]
        cells.append(finished_cell(folder, folder.result() or {}, variant, seed, [f"Block.core = {core}"]))
    (away / study.name).mkdir(parents=True)
    write_cells(away / study.name / CELLS_FILE, cells)
    return away / study.name / CELLS_FILE


def test_what_cells_tell_is_what_their_folders_say(tmp_path: Path) -> None:
    study = write_task_study(tmp_path / "here" / "parity")
    variants, runs, by_length = compare([study]).tables
    for path in (told(study, tmp_path / "away"), tmp_path / "away"):
        of_cells, of_runs, at_lengths = compare([path]).tables
        assert at_lengths.rows == by_length.rows
        for mine, theirs in zip([*of_cells.rows, *of_runs.rows], [*variants.rows, *runs.rows], strict=True):
            assert {**mine, "bindings": ()} == {**theirs, "bindings": ()}
        assert [row["bindings"] for row in of_cells.rows] == [
            (f"Block.core = @core.{core}",) for core in ("GRU", "LSTM", "QRNN")
        ]


@pytest.mark.slow
def test_of_several_tasks_they_make_a_matrix_and_no_curves(tmp_path: Path) -> None:
    for name, task in (("parity", "Parity"), ("recall", "Recall")):
        told(write_task_study(tmp_path / "here" / name, task), tmp_path / "away")
    found = compare([tmp_path / "away"], tmp_path / "out")
    assert {path.name for path in found.files if path.suffix == ".svg"} == {
        "by_length.svg",
        "by_pairs.svg",
        "matrix.svg",
    }
    assert "lstm (recall)" in (tmp_path / "out" / "compare.html").read_text()


def test_beside_a_run_that_is_here_both_are_shown(tmp_path: Path) -> None:
    path = told(write_task_study(tmp_path / "here" / "parity"), tmp_path / "away")
    rows = compare([write_run(tmp_path / "text"), path]).tables[1].rows
    assert [row["run"] for row in rows][:2] == ["text", "gru/seed-1"]


def test_who_trains_a_cell_again_is_told_whether_it_is_the_same(tmp_path: Path) -> None:
    study = write_task_study(tmp_path / "here" / "parity")
    path = told(study, tmp_path / "away")
    again = compare([study, path])
    assert len(again.runs) == 6
    assert "6 copies are left out, with the same configuration, seed and result" in again.text
    first, *others = path.read_text().splitlines()
    cell = json.loads(first)
    cell["result"]["test_by"][0]["accuracy"] = 0.25
    path.write_text("\n".join([json.dumps(cell), *others]))
    other = compare([study, path])
    assert "5 copies are left out" in other.text
    assert "The same configuration and seed, but different results: gru/seed-1" in other.text
    assert len(other.runs) == 7


def test_a_damaged_line_is_named_and_a_folder_without_either_says_what_was_looked_for(tmp_path: Path) -> None:
    path = told(write_task_study(tmp_path / "here" / "parity"), tmp_path / "away")
    first, second, *more = path.read_text().splitlines()
    path.write_text("\n".join([first, json.dumps({**json.loads(second), "seed": "2"}), *more]))
    with pytest.raises(StorageError, match=r"cells\.jsonl:2: seed is '2'"):
        compare([path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match="no run in or below it"):
        compare([tmp_path / "empty"])

"""Runs as rows of one table."""

import json
from pathlib import Path

import pytest

import rnnlab
from rnnlab.errors import StorageError
from rnnlab.storage.cells import append_cells, finished_cell
from rnnlab.storage.runfolder import RunFolder
from tests.rnnlab.run_folders import write_run
from tests.rnnlab.task_run_folders import write_task_run


def flat(rows: list[dict[str, object]]) -> bool:
    return all(value is None or isinstance(value, int | float | str) for row in rows for value in row.values())


def test_a_folder_of_runs_gives_a_row_a_run_with_what_differs(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_run(tmp_path / f"a-{seed}", seed=seed, figures={"format": 2})
    write_run(tmp_path / "b", status="unfinished", share=0.5, figures={"format": 2}, Block__core="@core.QRNN")
    rows = rnnlab.results(tmp_path)
    assert flat(rows)
    assert [(row["seed"], row["status"], row["Block.core"]) for row in rows] == [
        (1, "done", "@core.LSTM"), (2, "done", "@core.LSTM"), (1, "unfinished", "@core.QRNN"),
    ]  # fmt: skip
    assert rows[2]["parameters"] == 3_412_736
    assert "Block.dropout" not in rows[0]


def test_a_run_a_study_and_a_file_of_cells_agree(whole: Path, tmp_path: Path) -> None:
    folder = RunFolder.open(whole)
    result = json.loads((whole / "result.json").read_text())
    (row,) = rnnlab.results(whole)
    assert flat([row])
    assert (row["run"], row["seed"], row["valid_bpc"]) == (str(whole), 1, result["valid_bpc"])
    assert row["protocol.memory"] == result["protocol"]["memory"]
    cell = finished_cell(folder, result, "tiny", 1, ["Block.dropout = 0.1", "memory = 40"])
    append_cells(tmp_path / "cells.jsonl", [cell])
    (told,) = rnnlab.results(tmp_path / "cells.jsonl")
    assert flat([told])
    assert told == {**row, "run": None, "variant": "tiny", "bindings": "Block.dropout = 0.1; memory = 40"}
    assert rnnlab.results(tmp_path) == [told], "a study whose folders are not here"
    (tmp_path / "run").symlink_to(whole)
    assert [one["run"] for one in rnnlab.results(tmp_path)] == [str(tmp_path / "run")], "each cell once"


def test_a_task_has_its_test_by_difficulty(tmp_path: Path) -> None:
    write_task_run(tmp_path / "run", {8: 0.875, 256: 0.5})
    (row,) = rnnlab.results(tmp_path)
    assert flat([row])
    assert (row["test_accuracy@8"], row["test_accuracy@256"], row["task.name"]) == (0.875, 0.5, "Parity")


def test_where_there_is_nothing_that_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no run in or below it"):
        rnnlab.results(tmp_path)
    with pytest.raises(StorageError, match="there is no such folder"):
        rnnlab.results(tmp_path / "nowhere")


def test_a_folder_within_a_study_gives_its_own_runs_alone(tmp_path: Path) -> None:
    cells = []
    for name, of in (("base", 2.5), ("variant", 2.4)):
        run = write_run(tmp_path / "cells" / name / "seed-1", bpc=of, figures={"format": 2}, memory=str(int(10 * of)))
        result = json.loads((run / "result.json").read_text())
        cells.append(finished_cell(RunFolder.open(run), result, name, 1, [f"memory = {int(10 * of)}"]))
    append_cells(tmp_path / "cells.jsonl", cells)
    assert [row["variant"] for row in rnnlab.results(tmp_path)] == ["base", "variant"]
    (row,) = rnnlab.results(tmp_path / "cells" / "variant")
    assert (row["variant"], row["bindings"]) == ("variant", "memory = 24"), "as the study calls it"

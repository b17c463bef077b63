"""The file of results that travel: what is in a line, and what becomes of a file that was cut, damaged or edited."""

import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnlab.errors import StorageError
from rnnlab.storage.cells import FinishedCell, append_cells, finished_cell, has_cut_end, portable, read_cells
from rnnlab.storage.runfolder import RunFolder
from rnnlab.views.runs import read_run
from tests.rnnlab.tiny_runs import write_text  # noqa: F401 -- its module sets the number of threads

ONE = FinishedCell(
    variant="qrnn", seed=3, bindings=("Block.core = @core.QRNN",), config_sha="c" * 64, source_sha="5" * 64,
    processor="a processor", device="cpu", versions={"rnnlab": "0.1.0", "torch": "2.13.0"},
    result={"status": "done", "valid_bpc": 2.25, "protocol": {"memory": 16}, "test_by": [{"length": 8, "chance": 0.5}]},
)  # fmt: skip


def read(path: Path) -> list[FinishedCell]:
    return [cell for _, cell in read_cells(path)]


def test_cells_that_were_appended_are_read_back(tmp_path: Path) -> None:
    path, two = tmp_path / "cells.jsonl", replace(ONE, seed=4)
    assert read(path) == []
    append_cells(path, [ONE])
    append_cells(path, [two])
    assert read_cells(path) == [(1, ONE), (2, two)]


@pytest.mark.parametrize("cut", [1, 2, 40, 300])
def test_a_line_that_was_cut_off_does_not_count_and_is_mended(cut: int, tmp_path: Path) -> None:
    path, two = tmp_path / "cells.jsonl", replace(ONE, seed=4)
    append_cells(path, [ONE, two])
    os.truncate(path, path.stat().st_size - cut)
    is_whole = cut == 1  # the newline alone is gone, as an editor leaves it
    assert read(path) == ([ONE, two] if is_whole else [ONE])
    assert has_cut_end(path) != is_whole
    append_cells(path, [replace(ONE, seed=5)])
    assert [cell.seed for cell in read(path)] == ([3, 4, 5] if is_whole else [3, 5])
    assert not has_cut_end(path)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"format": 1, "vari', "not JSON"),
        (b"[1]", "a JSON object is expected, not list"),
        (b'{"format": 7}', "a cell in format 7, and this version of rnnlab reads 1"),
        (b'{"format": 1, "variant": 3}', "variant is 3"),
        (b"\xff\xfe{", "not JSON"),
        (b"[" * 100_000, r"not JSON \(nested too deep"),
    ],
)
def test_a_damaged_line_is_told_with_its_file_and_number(line: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    path.write_bytes(ONE.line() + line + b"\n" + ONE.line())
    with pytest.raises(StorageError, match=rf"cells\.jsonl:2: {told}.*take this line out"):
        read_cells(path)


def test_a_link_in_the_way_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("mine")
    (tmp_path / "cells.jsonl").symlink_to(tmp_path / "other")
    with pytest.raises(StorageError, match="a link is in the way"):
        append_cells(tmp_path / "cells.jsonl", [ONE])
    assert (tmp_path / "other").read_text() == "mine"


def test_a_line_of_a_run_holds_its_figures_and_no_path_or_host(whole: Path) -> None:
    folder = RunFolder.open(whole)
    result = folder.result()
    assert result is not None
    bindings = ["File.path = '/home/bob/texts/a.txt'", 'File.valid = "postgres://bob:hunter2@h/db"']
    cell = finished_cell(folder, {**result, "run": str(whole)}, "tiny", 1, bindings)
    line = cell.line().decode()
    told = json.loads(line)
    assert told["result"]["valid_bpc"] == result["valid_bpc"]
    assert told["result"]["protocol"] == result["protocol"]
    assert told["bindings"][0] == "File.path = 'a.txt'"
    assert told["config_sha"] == folder.config_sha
    assert told["processor"] == read_run(whole, "x").facts["device_name"]
    assert told["versions"]["torch"] == folder.environment["torch"]
    for private in (str(whole), str(whole.parent), "hunter2", "/home/bob", socket.gethostname() + '"'):
        assert private not in line
    assert len(line) < 4000


def test_what_is_too_long_or_nested_too_deep_does_not_travel() -> None:
    deep: Any = {"a": {"b": {"c": {"d": 1}}}}
    kept = portable({"status": "done", "note": "x" * 300, "place": "a/b", "deep": deep, "n": 1})
    assert kept == {"status": "done", "deep": {"a": {"b": {}}}, "n": 1}


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({}, "the status of its result is None, and not done or diverged"),
        ({"valid_bpc": 2.25, "status": "unfinished"}, "the status of its result is 'unfinished'"),
        ({"status": "done"}, "its result has no score"),
        ({"status": "done", "valid_bpc": "2.25"}, "valid_bpc is '2.25', which is no number"),
        ({"status": "done", "valid_accuracy": True}, "valid_accuracy is True, which is no number"),
    ],
)
def test_what_is_no_result_of_a_run_that_ended_is_refused_by_its_line(
    result: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "cells.jsonl"
    append_cells(path, [ONE, replace(ONE, seed=4, result=result)])
    with pytest.raises(StorageError, match=f"cells.jsonl:2: {message}.*; bring the file back"):
        read_cells(path)


def test_a_run_that_diverged_has_scores_that_are_no_numbers_by_right(tmp_path: Path) -> None:
    lost = replace(ONE, result={"status": "diverged", "valid_bpc": None})
    append_cells(tmp_path / "cells.jsonl", [lost])
    assert read(tmp_path / "cells.jsonl") == [lost]

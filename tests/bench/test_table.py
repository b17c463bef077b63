"""The table of targets: what counts as reached, what is written, and that a task runs in a process of its own."""

import json
import os
from pathlib import Path

import pytest

from bench import __main__ as table
from bench import growth
from bench.tasks import Answer, Settings


def rows() -> list[table.Row]:
    return [
        table.Row("faster", 2.0, 1.8, spread=(1.9, 2.1), unit="x"),
        table.Row("slower", 1.0, 1.8),
        table.Row("lighter", 1.1, 1.2, at_most=True),
        table.Row("heavier", 1.3, 1.2, at_most=True),
    ]


def test_a_target_is_a_floor_or_a_ceiling() -> None:
    assert [row.reached for row in rows()] == [True, False, True, False]


def test_the_text_has_a_line_a_row_and_says_what_was_reached() -> None:
    lines = table.text(rows()).splitlines()[1:]
    assert ["reached" in line for line in lines] == [True, False, True, False]
    assert ["not yet" in line for line in lines] == [False, True, False, True]
    assert "1.90 to 2.10" in lines[0]


def process_number(settings: Settings, add: int) -> Answer:
    return {"number": os.getpid() + add}


@pytest.mark.long
def test_every_task_has_a_process_of_its_own() -> None:
    asked = table.Table(Settings())
    first, second = (asked.ask(f"task {number}", process_number, 0) for number in range(2))
    assert first is not None
    assert second is not None
    assert len({os.getpid(), first["number"], second["number"]}) == 3


def test_only_the_tasks_that_were_asked_for_run() -> None:
    assert table.Table(Settings(), only="scan").ask("training", process_number, 0) is None


@pytest.mark.long
def test_the_command_prints_the_table_and_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench.json"
    only = "scan over a loop, T 256, D 256"
    monkeypatch.setattr("sys.argv", ["bench", "--repeats", "1", "--cpu-time", "--only", only, "--out", str(out)])
    assert table.main() == 0
    assert only in capsys.readouterr().out
    written = json.loads(out.read_text())
    assert [row["name"] for row in written["rows"]] == [only]
    assert written["machine"]["cores"] == os.cpu_count()
    assert written["answers"][only]["ratio"]["median"] > 0.0


@pytest.mark.slow
def test_growth_is_a_table_and_a_picture(tmp_path: Path) -> None:
    points = {5000: {"seconds": 0.3, "peak_memory_mb": 900.0}, 1: {"seconds": 0.2, "peak_memory_mb": 600.0}}
    lines = growth.text(points).splitlines()
    assert lines[1].split() == ["1", "200", "1.00x", "600", "1.00x"]
    assert lines[2].split() == ["5,000", "300", "1.50x", "900", "1.50x"]
    files = growth.draw(points, tmp_path / "memory")
    assert {file.name for file in files} == {"memory.png", "memory.svg"}
    assert all(file.stat().st_size > 2000 for file in files)

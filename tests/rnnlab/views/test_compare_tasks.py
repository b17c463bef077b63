"""`compare` over runs on tasks, alone and beside runs on text."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from rnnlab.views.compare import compare
from rnnlab.views.intervals import Interval
from tests.rnnlab import small_tasks
from tests.rnnlab.run_folders import write_run
from tests.rnnlab.task_run_folders import write_task_run, write_task_study

TEST = {20: 1.0, 40: 0.9, 160: 0.5}


def titles(table: Any) -> list[str]:
    return [column.title for column in table.visible()]


def test_a_study_on_a_task_has_accuracy_beside_chance_and_counts_positions(tmp_path: Path) -> None:
    variants, runs, by_length = compare([write_task_study(tmp_path / "study")]).tables
    gru = next(row for row in variants.rows if row["variant"] == "gru")
    assert isinstance(gru["valid_accuracy"], Interval)
    assert gru["chance"] == 0.5
    assert {"Valid accuracy", "Test accuracy", "Chance", "Positions", "Positions/s", "MACs/position"} <= set(
        titles(variants)
    )
    assert [title for title in (*titles(variants), *titles(runs)) if "BPC" in title or "Byte" in title] == []
    assert "Task" not in titles(variants), "they are all on one"
    assert titles(by_length) == ["Variant", "Length 20", "40", "80", "160"]


def test_a_task_is_named_where_runs_are_on_several(tmp_path: Path) -> None:
    paths = [write_task_run(tmp_path / "a", TEST), write_task_run(tmp_path / "b", {8: 1.0}, "Recall")]
    table = compare(paths).tables[0]
    assert [row["task"] for row in table.rows] == ["Parity", "Recall"]
    assert titles(table)[:2] == ["Run", "Task"]


def test_beside_text_each_run_has_its_own_figures_and_blanks_for_the_others(tmp_path: Path) -> None:
    comparison = compare([write_task_run(tmp_path / "a", TEST), write_run(tmp_path / "b")])
    task, text = comparison.tables[0].rows
    assert (task["valid_accuracy"], task.get("valid_bpc")) == (pytest.approx(0.98, abs=0.01), None)
    assert text.get("valid_accuracy") is None
    assert isinstance(text["valid_bpc"], float)
    assert {"Best valid BPC", "Best valid accuracy", "Bytes"} <= set(titles(comparison.tables[0]))
    assert "Bytes of a run on a task are positions." in comparison.text


def test_text_alone_has_the_columns_of_runs_on_text(tmp_path: Path) -> None:
    (table,) = compare([write_run(tmp_path / "a")]).tables
    assert [column.title for column in table.columns] == [
        "Run", "Status", "Seed", "Valid BPC", "Best valid", "Test BPC", "Bytes", "Time", "Parameters", "MACs/byte",
        "State", "Bytes/s", "Memory", "Differs in",
    ]  # fmt: skip


def test_only_seeds_that_are_done_are_in_the_table_by_difficulty(tmp_path: Path) -> None:
    write_task_run(tmp_path / "lstm" / "seed-1", TEST)
    write_task_run(tmp_path / "lstm" / "seed-2", TEST, seed=2, status="unfinished")
    write_task_run(tmp_path / "gru" / "seed-1", TEST, core="GRU", status="diverged")
    *_, table = compare([tmp_path]).tables
    assert [row["variant"] for row in table.rows] == ["lstm", "chance"]
    assert table.rows[0]["length_40"] == Interval(0.9, None, None, 1)


@pytest.mark.slow
def test_everything_is_written_for_one_task(tmp_path: Path) -> None:
    comparison = compare([write_task_study(tmp_path / "study")], tmp_path / "out")
    stems = {path.stem for path in comparison.files}
    assert stems == {"variants", "runs", "by_length", "curves", "compare"}
    assert (tmp_path / "out" / "by_length.png").read_bytes().startswith(b"\x89PNG")
    (row, *_) = csv.DictReader(io.StringIO((tmp_path / "out" / "by_length.csv").read_text()))
    assert float(row["length_20"]) == pytest.approx(0.894)


@pytest.mark.slow
def test_several_tasks_make_a_matrix_and_text_keeps_its_curves(tmp_path: Path) -> None:
    write_task_study(tmp_path / "s" / "parity")
    write_task_study(tmp_path / "s" / "recall", "Recall")
    write_run(tmp_path / "s" / "text")
    comparison = compare([tmp_path / "s"], tmp_path / "out")
    pictures = {path.name for path in comparison.files if path.suffix == ".svg"}
    assert pictures == {"curves.svg", "curves_of_tasks.svg", "by_length.svg", "by_pairs.svg", "matrix.svg"}
    table = json.loads((tmp_path / "out" / "matrix.json").read_text())
    assert [column["key"] for column in table["columns"]] == [
        "variant",
        "parity_40",
        "parity_160",
        "recall_8",
        "recall_32",
    ]
    assert [row["variant"] for row in table["rows"]] == ["gru", "lstm", "qrnn", "chance"], "a row for both tasks"
    by_pairs = json.loads((tmp_path / "out" / "by_pairs.json").read_text())["rows"]
    assert table["rows"][0]["recall_8"] == by_pairs[0]["pairs_8"]
    assert table["rows"][0]["recall_32"] == by_pairs[0]["pairs_32"]


@pytest.mark.long
def test_the_page_holds_accuracy_and_loss_and_one_color_a_variant_over_tasks(tmp_path: Path) -> None:
    write_task_study(tmp_path / "s" / "parity")
    write_task_study(tmp_path / "s" / "recall", "Recall")
    compare([tmp_path / "s"], tmp_path / "out")
    text = (tmp_path / "out" / "compare.html").read_text()
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    data = json.loads(found)
    assert [word["word"] for word in data["words"]] == ["accuracy", "nats"]
    assert [(v["name"], v["task"], v["color"]) for v in data["variants"]] == [
        ("parity/gru", "Parity", 0), ("parity/lstm", "Parity", 1), ("parity/qrnn", "Parity", 2),
        ("recall/gru", "Recall", 0), ("recall/lstm", "Recall", 1), ("recall/qrnn", "Recall", 2),
    ]  # fmt: skip
    assert all(
        len(variant["curves"][word]["mean"]) == 10 for variant in data["variants"] for word in ("accuracy", "nats")
    )


@pytest.mark.long
def test_a_run_that_was_really_trained_is_shown_as_those_that_are_written_here(tmp_path: Path) -> None:
    trained, written = tmp_path / "trained", write_task_run(tmp_path / "written", {12: 0.5, 20: 0.5})
    small_tasks.train(trained, "Trainer.eval_every = 300")
    for name in ("result.json", "environment.json"):
        made = set(json.loads((written / name).read_text())) - {"reach"}
        assert made <= set(json.loads((trained / name).read_text())), name
    (run,) = compare([trained]).runs
    runs, by_length = compare([trained], tmp_path / "out").tables
    assert (run.task, run.number("chance")) == ("Parity", 0.5)
    assert len(run.curves["nats"].valid) > 1
    assert runs.rows[0]["valid_accuracy"] == run.valid[-1].value
    assert list(by_length.rows[0]) == ["variant", "length_12", "length_20"]
    assert by_length.notes[0] == "Trained on length 3 to 12."

"""What a study wrote into its folder, read back for the page of a comparison."""

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from rnnlab.views import numerals, tables
from rnnlab.views.compare import compare
from rnnlab.views.intervals import Interval
from rnnlab.views.stored_tables import read_table
from rnnlab.views.studies import read_study
from rnnlab.views.tables import Cell, Column, Table
from tests.rnnlab.run_folders import write_run, write_study

PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 30"><script>alert(1)</script><title>{}</title></svg>'


def ablation() -> Table:
    """As `rnnlab ablate` has it, with what was chosen for each variant."""
    columns = [
        Column("variant", "Variant"),
        Column("seeds", "Seeds", "number"),
        Column("valid_bpc", "Valid BPC", "interval", numerals.plus_minus(3)),
        Column("difference", "Δ BPC", "interval", numerals.plus_minus(3, signed=True)),
        Column("p", "p", "number", numerals.probability),
        Column("parameters", "Parameters", "number", numerals.engineering),
        Column("chosen", "Chosen", "text"),
        Column("bindings", "Differs from the baseline", "code"),
    ]
    rows: list[dict[str, tables.Cell]] = [
        {"variant": "lstm", "seeds": 3, "valid_bpc": Interval(2.61, 2.6, 2.62, 3), "parameters": 3_412_736,
         "chosen": "Muon.lr = 0.003"},
        {"variant": "qrnn", "seeds": 3, "valid_bpc": Interval(2.68, 2.67, 2.69, 3),
         "difference": Interval(0.07, 0.05, 0.09, 3), "p": 0.0004, "parameters": 2_100_000,
         "chosen": "Muon.lr = 0.01", "bindings": ("Block.core = @core.QRNN",)},
    ]  # fmt: skip
    return Table("Ablation against lstm: valid BPC", columns, rows, ["p: paired t-test, two-sided."])


def write_reported_study(folder: Path) -> Path:
    """A study with runs, its own tables and pictures, as the commands leave it."""
    write_study(folder)
    (folder / "study.gin").write_text("Ablation.seeds = 3\n")
    tables.write(ablation(), folder, "ablation")
    tables.write(Table("Factors", [Column("variant", "Level")], [{"variant": "lstm"}]), folder, "factors")
    for stem in ("ablation", "forest", "difference", "interactions", "factors", "sizes"):
        (folder / f"{stem}.svg").write_text(PICTURE.format(stem))
    return folder


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_reported_study(tmp_path / "study")


def page_data(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found.isascii()
    assert "<" not in found
    data: dict[str, Any] = json.loads(found)
    return data


def test_a_table_reads_as_it_did_when_it_was_written(study: Path) -> None:
    table = read_table(study / "ablation.json")
    assert table is not None
    assert tables.to_text(table) == tables.to_text(ablation())


def test_what_was_marked_is_marked_and_what_is_for_programs_is_not_shown(tmp_path: Path) -> None:
    columns = [Column("variant", "Variant", marked_by="lost"), Column("lost", "Lost", is_shown=False)]
    rows: list[dict[str, Cell]] = [{"variant": "lstm", "lost": False}, {"variant": "qrnn", "lost": True}]
    (tmp_path / "ablation.json").write_text(tables.to_json(Table("Marks", columns, rows)))
    found = read_table(tmp_path / "ablation.json")
    assert found is not None
    assert tables.to_text(found) == tables.to_text(Table("Marks", columns, rows))
    assert "qrnn †" in tables.to_text(found)


@pytest.mark.slow
def test_the_page_begins_with_the_table_and_the_pictures_of_the_study(study: Path, tmp_path: Path) -> None:
    compare([study], tmp_path / "out")
    (shown,) = page_data(tmp_path / "out" / "compare.html")["studies"]
    assert [table["title"] for table in shown["tables"]] == ["Ablation against lstm: valid BPC", "Factors"]
    headings = [column["heading"] for column in shown["tables"][0]["columns"]]
    assert headings == ["Variant", "Seeds", "Valid BPC", "Δ BPC", "p", "Parameters", "Chosen"]
    cells = [cell["text"] for cell in shown["tables"][0]["rows"][1]]
    assert cells == ["qrnn", "3", "2.680 ± 0.010", "+0.070 ± 0.020", "<0.001", "2.10M", "Muon.lr = 0.01"]
    drawn = [base64.b64decode(picture["svg"]).decode() for picture in shown["pictures"]]
    stems = [re.findall("<title>(.*)</title>", svg)[0] for svg in drawn]
    assert stems == ["forest", "difference", "factors", "interactions", "ablation", "sizes"]
    assert shown["notes"] == []


def test_a_study_has_its_section_wherever_it_lies_below_what_is_given(study: Path, tmp_path: Path) -> None:
    write_reported_study(tmp_path / "more" / "second")
    found = compare([study, tmp_path / "more", write_run(tmp_path / "plain")])
    assert [one.name for one in found.studies] == ["study", "second"]
    assert compare([study / "cells" / "lstm"]).studies == [], "some runs of a study are not the study"


def test_runs_that_ended_after_the_table_are_told(study: Path) -> None:
    runs = sorted((study / "cells").glob("*/*"))
    written = (study / "ablation.json").stat().st_mtime
    for run in runs[:2]:
        os.utime(run / "result.json", (written + 60, written + 60))
    (note,) = read_study(study, runs).notes
    assert note.startswith("2 runs have ended since this was written: `rnnlab ablate ")


def test_a_study_without_a_table_says_how_to_get_one(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study")
    (folder / "study.gin").write_text("Search.trials = 3\n")
    (report,) = compare([folder]).studies
    assert report.tables == []
    assert "no table yet: `rnnlab search " in report.notes[0]


def test_of_a_search_the_confirmation_stands_before_the_trials_and_its_plots_follow(tmp_path: Path) -> None:
    folder = tmp_path / "search"
    write_run(folder / "trials" / "trial-0001")
    (folder / "study.gin").write_text("Search.trials = 3\n")
    for stem in ("trials", "confirm"):
        tables.write(Table(stem, [Column("trial", "Trial", "number")], [{"trial": 1}]), folder, stem)
    (folder / "plots").mkdir()
    (folder / "plots" / "history.svg").write_text(PICTURE.format("history"))
    (report,) = compare([folder]).studies
    assert [table.title for table in report.tables] == ["confirm", "trials"]
    assert [picture.title for picture in report.pictures] == ["History"]


def test_what_compare_wrote_there_itself_is_not_the_study_s(study: Path) -> None:
    for stem in ("runs", "variants", "by_length"):
        tables.write(Table(stem, [Column("run", "Run")], [{"run": "a"}]), study, stem)
    (study / "curves.svg").write_text(PICTURE.format("curves"))
    report = read_study(study, [])
    assert [table.title for table in report.tables] == ["Ablation against lstm: valid BPC", "Factors"]
    assert len(report.pictures) == 6


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "[" * 100_000, '{"title": "x"}', '{"title": "x", "columns": [{}], "rows": []}', '"text"',
     '{"title": "x", "columns": [{"key": "a"}], "rows": [1]}'],
    ids=range(8),
)  # fmt: skip
def test_a_file_that_is_no_table_is_left_out(study: Path, text: str) -> None:
    (study / "other.json").write_text(text)
    assert read_table(study / "other.json") is None
    assert len(read_study(study, []).tables) == 2


def test_cells_of_every_kind_can_be_shown(tmp_path: Path) -> None:
    told = {
        "title": "x",
        "columns": [{"key": "a", "title": "A", "unit": "MB"}, {"key": "b"}],
        "rows": [{"a": {"mean": None}, "b": True}, {"a": {"mean": 1, "low": "x"}, "b": [1, "y"]}, {"a": 2.5, "b": 7}],
    }
    (tmp_path / "x.json").write_text(json.dumps(told))
    table = read_table(tmp_path / "x.json")
    assert table is not None
    shown = tables.to_text(table).splitlines()
    assert shown[2].split() == ["A", "[MB]", "b"]
    assert [line.split() for line in shown[4:]] == [["true"], ["1.000", "1;", "y"], ["2.5", "7"]]

"""`compare` over real run folders: tables, curves and the page."""

import csv
import html.parser
import io
import json
import re
import time
from pathlib import Path

import pytest

from rnnlab.errors import ConfigError, StorageError
from rnnlab.views import tables
from rnnlab.views.compare import compare
from rnnlab.views.intervals import Interval
from tests.rnnlab.run_folders import write_run, write_study

HOSTILE = "<img src=x onerror=alert(1)> & \"q\" 'q' $x^2$ %7B | \x1b[31m"


def test_two_runs_stand_beside_each_other_with_what_differs(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / "long"), write_run(tmp_path / "short", bpc=2.7, memory="512")]
    comparison = compare(paths)
    (table,) = comparison.tables
    assert [row["run"] for row in table.rows] == ["long", "short"]
    assert comparison.differences == {"attention.SingleHead.memory": ["1024", "512"]}
    assert table.rows[1]["bindings"] == ("attention.SingleHead.memory = 512",)
    assert "attention.SingleHead.memory = 512" in comparison.text
    assert list(comparison.files) == []


def test_a_study_is_folded_over_its_seeds(tmp_path: Path) -> None:
    comparison = compare([write_study(tmp_path / "study")])
    variants, runs = comparison.tables
    assert len(variants.rows) == 5
    assert len(runs.rows) == 15
    lstm = next(row for row in variants.rows if row["variant"] == "lstm")
    assert lstm["seeds"] == "3"
    assert isinstance(lstm["valid_bpc"], Interval)
    assert lstm["valid_bpc"].count == 3
    memory = next(row for row in variants.rows if row["variant"] == "memory_512")
    assert memory["seeds"] == "2 of 3"
    assert memory["bindings"] == ("Block.dropout = 0.2", "attention.SingleHead.memory = 512")


def test_unfinished_diverged_and_stopped_runs_are_shown_as_such(tmp_path: Path) -> None:
    states = ["done", "diverged", "stopped", "unfinished"]
    for state in states:
        write_run(tmp_path / state, status=state, share=0.4, memory=str(len(state)))
    rows = compare([tmp_path / state for state in states]).tables[0].rows
    assert [row["status"] for row in rows] == states
    assert all(row["bytes_trained"] == 400_000 for row in rows)


def test_scores_of_who_learns_from_what_was_scored_stand_in_columns_of_their_own(tmp_path: Path) -> None:
    write_run(tmp_path / "other", memory="512", figures={"online_bpc": 2.5, "test_dynamic_bpc": 2.25})
    write_run(tmp_path / "plain")
    (table,) = compare([tmp_path]).tables
    titles = [column.title for column in table.columns]
    assert "Online BPC" in titles
    assert "Test BPC (dynamic)" in titles
    assert "Valid BPC (dynamic)" not in titles, "nobody has it"
    assert [(row["run"], row.get("online_bpc"), row.get("test_dynamic_bpc")) for row in table.rows] == [
        ("other", 2.5, 2.25), ("plain", None, None),
    ]  # fmt: skip
    (alone,) = compare([tmp_path / "plain"]).tables
    assert "Online BPC" not in [column.title for column in alone.columns]


def test_a_run_named_twice_counts_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a")
    assert len(compare([run, tmp_path, run]).runs) == 1


@pytest.mark.slow
def test_everything_is_written_and_the_tables_agree(tmp_path: Path) -> None:
    comparison = compare([write_study(tmp_path / "study")], tmp_path / "out")
    names = {path.name for path in comparison.files}
    kinds = (".txt", ".md", ".csv", ".tex", ".json")
    expected = {f"{stem}{kind}" for stem in ("variants", "runs") for kind in kinds}
    assert names == expected | {"curves.png", "curves.svg", "compare.html"}
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "runs.csv").read_text())))
    assert {row["variant"] for row in rows} == {"lstm", "qrnn", "gru", "no_attention", "memory_512"}
    answer = json.loads((tmp_path / "out" / "runs.json").read_text())
    assert [float(row["valid_bpc"]) for row in rows] == [row["valid_bpc"] for row in answer["rows"]]
    assert (tmp_path / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_equal_runs_give_equal_files(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study")
    first, second = (compare([study], tmp_path / name).files for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


class _Page(html.parser.HTMLParser):
    """Collects what a page would load, and its data."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.data = ""
        self._in_data = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [str(value) for name, value in attributes if name in ("src", "href")]
        self._in_data = ("id", "data") in attributes

    def handle_data(self, data: str) -> None:
        if self._in_data:
            self.data += data
            self._in_data = False


@pytest.mark.slow
def test_the_page_loads_nothing_and_holds_every_curve(tmp_path: Path) -> None:
    compare([write_study(tmp_path / "study")], tmp_path / "out")
    text = (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert page.loads == []
    assert not re.search(r"(https?:)?//(?!www\.w3\.org/2000/svg)\w", re.sub(r"\n\s*//.*", "", text))
    assert len(text) < 200_000
    data = json.loads(page.data)
    assert [len(variant["runs"]) for variant in data["variants"]] == [3] * 5
    assert data["variants"][0]["curves"]["BPC"]["mean"][-1][0] == 1_000_000


@pytest.mark.slow
def test_a_hostile_name_stays_a_name(tmp_path: Path) -> None:
    """In a folder, a seed, a value: nothing closes the script that holds it, nothing reaches the terminal raw."""
    hostile = "</script><script>alert(1)</script><!--"
    folder = tmp_path / HOSTILE.replace("/", "_")
    runs = [write_run(folder / "a", memory=repr(hostile)), write_run(folder / "b")]
    comparison = compare([*runs, write_run(tmp_path / "-x_$^{")], tmp_path / "out")
    page = _Page()
    page.feed((tmp_path / "out" / "compare.html").read_text())
    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    names = [variant["name"] for variant in json.loads(page.data)["variants"]]
    assert names[0].startswith("<img src=x onerror=alert(1)>")
    assert "\x1b" not in comparison.text


@pytest.mark.slow
def test_runs_without_points_or_costs_still_make_a_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "new", status="unfinished")
    for name in ("metrics.jsonl", "environment.json"):
        (folder / name).unlink()
    comparison = compare([folder], tmp_path / "out")
    assert comparison.tables[0].rows[0]["valid_bpc"] is None
    assert (tmp_path / "out" / "compare.html").exists()


@pytest.mark.long
def test_many_variants_are_drawn(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / f"_{n}", bpc=2.5 + n / 100, memory=str(n)) for n in range(30)]
    comparison = compare(paths, tmp_path / "out")
    assert len(comparison.variants) == 30


def test_nothing_to_compare_and_an_unwritable_place_are_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare([])
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError, match="taken"):
        compare([write_run(tmp_path / "a")], tmp_path / "taken")


@pytest.mark.long
def test_a_long_journal_is_read_in_seconds_and_kept_small_on_the_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    line = '{"kind": "train", "bytes": %d, "seconds": %d.5, "bpc": 2.5, "memory_mb": 1.0}\n'
    with (folder / "metrics.jsonl").open("a") as journal:
        journal.writelines(line % (10**6 + n, n) for n in range(100_000))
    start = time.monotonic()
    compare([folder], tmp_path / "out")
    assert time.monotonic() - start < 20
    assert (tmp_path / "out" / "compare.html").stat().st_size < 100_000


def test_the_text_names_how_bpc_was_measured(tmp_path: Path) -> None:
    assert "149,992 bytes scored" in tables.to_text(compare([write_run(tmp_path / "a")]).tables[0])

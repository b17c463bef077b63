"""Pages of each kind of study in a real browser, on a desk and on a phone: nothing is lost, what matters is first."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from rnnlab.views import numerals, tables
from rnnlab.views.compare import compare
from rnnlab.views.intervals import Interval
from rnnlab.views.tables import Column, Table
from tests.browser.chromium import HASH, SCREENSHOTS, browser
from tests.browser.test_compare_page import DESK, PHONE, assert_columns_can_be_seen, opened
from tests.rnnlab.run_folders import write_run
from tests.rnnlab.task_run_folders import write_task_run, write_task_study
from tests.rnnlab.views.test_studies import write_reported_study
from tests.sampled import sampled

pytestmark = pytest.mark.slow  # a browser takes seconds to start

WIDE = '<svg xmlns="http://www.w3.org/2000/svg" width="1200" height="300" viewBox="0 0 1200 300"></svg>'
LEARNING_RATE = 0.021693751390779563


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


def ablation(folder: Path) -> list[Path]:
    """Twelve variants of two seeds in folders with hashes, and a difference at each of six evaluations."""
    study = write_reported_study(folder / "study")
    names = [f"a variant with a long name {number}" for number in range(12)]
    for number, name in enumerate(names):
        for seed in (1, 2):
            run = study / "cells" / name.replace(" ", "-") / f"seed-{seed}-0a1b2c{number:02d}"
            write_run(run, seed, figures={"variant": f"{name} (study)"}, memory=str(100 + number))
    columns = [
        Column("variant", "Variant"),
        Column("trained", "Bytes trained", "number", numerals.engineering),
        Column("difference", "Δ BPC", "interval", numerals.plus_minus(3, signed=True)),
    ]
    over = [{"variant": name, "trained": at, "difference": Interval(0.1, 0.0, 0.2, 2)}
            for name in names for at in range(6)]  # fmt: skip
    tables.write(Table("Difference over training", columns, over), study, "difference")
    (study / "sizes.svg").write_text(WIDE)
    return [study]


def search(folder: Path) -> list[Path]:
    """The best of its trials has the lowest score with the search's seed, which fresh seeds do not confirm."""
    study = folder / "search"
    for number, bpc in ((0, 2.62), (8, 2.5)):
        rate = str(LEARNING_RATE + number)
        told = {"variant": f"trial {number} (search)"}
        write_run(study / "trials" / f"trial-{number:04d}", 1, bpc, figures=told, Muon__lr=rate)
        told = {"variant": f"trial {number}, fresh seeds (search)"}
        for seed in (2, 3, 4):
            run = study / "confirm" / f"trial-{number:04d}" / f"seed-{seed}"
            write_run(run, seed, bpc + 0.1, figures=told, Muon__lr=rate)
    (study / "study.gin").write_text("Search.trials = 9\n")
    for stem in ("trials", "confirm"):
        tables.write(Table(stem, [Column("trial", "Trial", "number")], [{"trial": 8}]), study, stem)
    (study / "plots").mkdir()
    (study / "plots" / "slice.svg").write_text(WIDE)
    return [study]


def mixed(folder: Path) -> list[Path]:
    """Text and a task of a long name, so that a row has the columns of both."""
    for number in range(3):
        for seed in (1, 2, 3):
            name = ("lstm, memory 64", "qrnn, memory 64", "qrnn, memory 16")[number]
            write_task_run(
                folder / "grid" / "cells" / name / f"seed-{seed}-0a1b2c{number:02d}",
                {4: 0.5, 128: 0.1}, "RecallAtDistance", seed, core=f"C{number}",
                figures={"variant": f"{name} (recall at distance)"},
            )  # fmt: skip
    (folder / "grid" / "study.name").write_text("recall at distance\n")
    (folder / "grid" / "study.gin").write_text("Ablation.seeds = 3\n")
    return [folder / "grid", *ablation(folder)]


def tasks(folder: Path) -> list[Path]:
    return [write_task_study(folder / "study")]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    makers: list[Callable[[Path], list[Path]]] = [ablation, search, mixed, tasks]
    found = {}
    for make in makers:
        folder = tmp_path_factory.mktemp(make.__name__)
        compare(make(folder), folder / "out")
        found[make.__name__] = folder / "out" / "compare.html"
    return found


def unfold(page: Page) -> None:
    for details in page.locator("details").all():
        details.locator("summary").click()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["1400", "390"])
@pytest.mark.parametrize("kind", sampled(["ablation", "search", "mixed", "tasks"], ("search", "mixed")))
def test_no_column_is_lost_and_no_name_is_a_hash(
    chromium: Browser, pages: dict[str, Path], kind: str, size: tuple[int, int]
) -> None:
    with opened(chromium, pages[kind], size) as page:
        page.wait_for_selector("#chart polyline")
        page.screenshot(path=SCREENSHOTS / f"compare-{kind}-{size[0]}.png", full_page=True)
        unfold(page)
        assert_columns_can_be_seen(page, size[0])
        assert HASH.findall(page.locator("main").inner_text()) == []


def test_a_table_of_text_and_tasks_fits_a_desk(chromium: Browser, pages: dict[str, Path]) -> None:
    with opened(chromium, pages["mixed"]) as page:
        boxes = "[...document.querySelectorAll('section:not(#differences) .scroll')]"
        wide = page.evaluate(f"{boxes}.filter(box => box.scrollWidth > box.clientWidth).map(box => box.ariaLabel)")
        assert wide == []


def test_pictures_follow_what_the_study_found_and_detail_follows_them(
    chromium: Browser, pages: dict[str, Path]
) -> None:
    with opened(chromium, pages["ablation"]) as page:
        shown = "[...document.querySelectorAll('.study > h3, .study > .pictures')]"
        order = page.evaluate(f"{shown}.map(one => one.innerText.split('\\n')[0])")
        first = "Ablation against lstm: valid BPC"
        assert order == [first, "Difference to the baseline", "Factors", "Difference over training"]


def test_a_table_of_several_screens_is_folded(chromium: Browser, pages: dict[str, Path]) -> None:
    with opened(chromium, pages["ablation"], PHONE) as page:
        folded = page.locator(".study details")
        assert folded.locator("summary").all_inner_texts() == ["Show its 72 rows"]
        assert not folded.locator("table").is_visible()
        folded.locator("summary").click()
        assert folded.locator("tbody tr").count() == 72
        assert folded.locator("table").is_visible()


def test_a_picture_can_be_read_on_a_phone(chromium: Browser, pages: dict[str, Path]) -> None:
    with opened(chromium, pages["search"], PHONE) as page:
        (picture,) = page.locator("figure img").all()
        assert picture.evaluate("image => image.getBoundingClientRect().width") < PHONE[0]
        picture.click()
        assert picture.evaluate("image => image.getBoundingClientRect().width") > 1200, "as large as it was drawn"
        assert page.locator("figure button").get_attribute("aria-expanded") == "true"
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
        picture.click()
        assert picture.evaluate("image => image.getBoundingClientRect().width") < PHONE[0]


def test_a_wide_picture_has_a_row_of_its_own(chromium: Browser, pages: dict[str, Path]) -> None:
    with opened(chromium, pages["ablation"]) as page:
        page.wait_for_selector("figure.wide")
        wide, other = page.locator("figure.wide img"), page.locator("figure:not(.wide) img").first
        assert wide.bounding_box()["width"] > 2 * other.bounding_box()["width"]  # type: ignore[index]


def test_a_score_that_was_chosen_does_not_lead_those_over_fresh_seeds(
    chromium: Browser, pages: dict[str, Path]
) -> None:
    with opened(chromium, pages["search"]) as page:
        assert page.locator("#summary").inner_text().startswith("Lowest validation BPC: trial 8, fresh seeds, 2.6")
        rows = page.locator("section:not(.study) table >> nth=0 >> tbody tr:has(.best)")
        assert [row.locator("th").inner_text() for row in rows.all()] == ["trial 8, fresh seeds"]


def test_a_number_that_was_drawn_is_shown_in_five_digits_and_told_in_all(
    chromium: Browser, pages: dict[str, Path]
) -> None:
    with opened(chromium, pages["search"], PHONE) as page:
        shown = page.locator("#differences code[title]").first
        assert shown.inner_text() == "0.021694"
        assert shown.get_attribute("title") == str(LEARNING_RATE)

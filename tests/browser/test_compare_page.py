"""The page of a comparison in a real browser with the network off: on a desk and on a phone, by day and by night."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from rnnlab.views.compare import compare
from tests.browser.chromium import SCREENSHOTS, browser
from tests.rnnlab.run_folders import write_run, write_study
from tests.rnnlab.task_run_folders import write_task_study
from tests.rnnlab.views.test_studies import write_reported_study
from tests.sampled import sampled

pytestmark = pytest.mark.slow  # a browser takes seconds to start

DESK, PHONE = (1400, 900), (390, 844)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    compare([write_study(folder / "study")], folder / "out")
    return folder / "out" / "compare.html"


@contextmanager
def opened(chromium: Browser, path: Path, size: tuple[int, int] = DESK, scheme: str = "light") -> Iterator[Page]:
    """The page, offline; at the end nothing may have been complained about, and nothing but the file asked for."""
    width, height = size
    context = chromium.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,  # type: ignore[arg-type]
        offline=True,
        has_touch=size == PHONE,
    )
    page = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    yield page
    assert complaints == []
    assert requests == [path.as_uri()]
    context.close()


def column(page: Page, number: int) -> list[str]:
    return page.locator(f"section table >> nth=0 >> tbody tr > :nth-child({number})").all_inner_texts()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["1400", "390"])
@pytest.mark.parametrize("scheme", sampled(["light", "dark"], ("light",)))
def test_curves_and_tables_fit_the_screen(chromium: Browser, study: Path, size: tuple[int, int], scheme: str) -> None:
    with opened(chromium, study, size, scheme) as page:
        page.wait_for_selector("#chart polyline[data-variant]")
        assert page.locator("#chart polyline[data-variant]").count() == 5
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]
        box = page.locator("#chart svg").bounding_box()
        assert box is not None
        assert box["width"] > 0.8 * (size[0] - 80)
        assert box["y"] + box["height"] < size[1], "the chart is on the first screen"
        page.screenshot(path=SCREENSHOTS / f"compare-{size[0]}-{scheme}.png", full_page=True)


def test_every_curve_has_its_own_color(chromium: Browser, study: Path) -> None:
    with opened(chromium, study) as page:
        lines = page.locator("#chart polyline[data-variant]")
        assert len({lines.nth(i).get_attribute("stroke") for i in range(5)}) == 5


def test_a_click_sorts_and_a_second_click_turns_it_around(chromium: Browser, study: Path) -> None:
    with opened(chromium, study) as page:
        assert column(page, 1) == ["gru", "lstm", "memory_512", "no_attention", "qrnn"]
        page.get_by_role("button", name="Valid BPC").first.click()
        assert column(page, 1) == ["gru", "lstm", "memory_512", "qrnn", "no_attention"]
        page.get_by_role("button", name="Valid BPC").first.click()
        assert column(page, 1) == ["no_attention", "qrnn", "memory_512", "lstm", "gru"]
        assert page.locator("th[aria-sort=descending]").inner_text().startswith("Valid BPC")
        page.get_by_role("button", name="Parameters").first.click()
        assert column(page, 8)[0] == "2.10M"


def test_numbers_sort_as_numbers_and_empty_cells_stay_last(chromium: Browser, tmp_path: Path) -> None:
    speeds = [9000.0, 10_000.0, 110_000.0]
    runs = [
        write_run(tmp_path / f"run{i}", bytes_per_second=v, figures={"bytes_per_second": v}, memory=str(i))
        for i, v in enumerate(speeds)
    ]
    new = write_run(tmp_path / "new", status="unfinished", memory="9")
    (new / "metrics.jsonl").unlink()
    compare([new, *runs], tmp_path / "out")
    with opened(chromium, tmp_path / "out" / "compare.html") as page:
        page.get_by_role("button", name="Bytes/s").click()
        assert column(page, 1) == ["run0", "run1", "run2", "new"]
        page.get_by_role("button", name="Bytes/s").click()
        assert column(page, 1) == ["run2", "run1", "run0", "new"]


def test_pointing_at_the_curves_shows_their_values(chromium: Browser, study: Path) -> None:
    with opened(chromium, study) as page:
        page.wait_for_selector("#chart polyline")
        box = page.locator("#chart").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
        tip = page.locator(".tip")
        assert tip.locator("div").count() == 5
        values = [float(value) for value in tip.locator("i").all_inner_texts()]
        assert values == sorted(values)
        assert "bytes" in tip.locator("b").inner_text()
        page.mouse.move(box["x"] + 5, box["y"] - 40)
        assert tip.count() == 0


def test_the_values_shown_are_those_of_the_runs(chromium: Browser, tmp_path: Path) -> None:
    comparison = compare([write_run(tmp_path / "a")], tmp_path / "out")
    with opened(chromium, tmp_path / "out" / "compare.html") as page:
        page.wait_for_selector("#chart polyline")
        box = page.locator("#chart").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] - 16, box["y"] + 60)
        assert page.locator(".tip b").inner_text() == "1M bytes"
        assert page.locator(".tip i").inner_text() == f"{comparison.runs[0].valid[-1].value:.3f}"


def test_a_tap_shows_values_on_a_phone(chromium: Browser, study: Path) -> None:
    with opened(chromium, study, PHONE) as page:
        page.wait_for_selector("#chart polyline")
        box = page.locator("#chart").bounding_box()
        assert box is not None
        page.touchscreen.tap(box["x"] + 0.6 * box["width"], box["y"] + 60)
        tip = page.locator(".tip").bounding_box()
        assert tip is not None
        assert tip["x"] >= 0
        assert tip["x"] + tip["width"] <= PHONE[0]
        page.touchscreen.tap(box["x"] + 20, box["y"] - 100)
        assert page.locator(".tip").count() == 0


def test_the_axis_can_be_time_or_compute_and_the_scale_a_logarithm(chromium: Browser, study: Path) -> None:
    with opened(chromium, study) as page:
        for name, label in (
            ("Time", "Training time [s]"),
            ("Compute", "Compute, forward [MAC]"),
            ("Bytes", "Bytes trained"),
        ):
            page.locator("#axes").get_by_role("button", name=name).click()
            assert label in (page.locator("#chart svg").text_content() or "")
            for option in ("log", "end", "train"):
                before = page.locator("#chart svg").inner_html()
                page.check(f"#{option}")
                assert page.locator("#chart svg").inner_html() != before
                assert "NaN" not in page.locator("#chart svg").inner_html()
            for option in ("log", "end", "train"):
                page.uncheck(f"#{option}")


def test_a_name_can_be_switched_off_and_on(chromium: Browser, study: Path) -> None:
    with opened(chromium, study) as page:
        lines = page.locator("#chart polyline[data-variant]")
        page.wait_for_selector("#chart polyline")
        for shown in (4, 5):
            page.locator("#legend").get_by_role("button", name="lstm").click()
            assert lines.count() == shown


def test_the_bindings_that_differ_stand_out(chromium: Browser, study: Path) -> None:
    with opened(chromium, study) as page:
        assert page.locator("#differences code.odd").all_inner_texts() == [
            "@core.GRU",
            "@core.QRNN",
            "0.2",
            "512",
            "None",
        ]


def test_a_page_without_points_or_costs_says_so(chromium: Browser, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "new", status="unfinished")
    for name in ("metrics.jsonl", "environment.json"):
        (folder / name).unlink()
    compare([folder], tmp_path / "out")
    with opened(chromium, tmp_path / "out" / "compare.html") as page:
        assert "nothing has been logged yet" in page.locator("#chart").inner_text()
        assert page.locator("#axes button", has_text="Compute").is_disabled()
        assert page.locator("#differences").count() == 0


def test_hostile_names_are_shown_and_not_run(chromium: Browser, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    value = "'</script><script>alert(2)</script>'"
    compare([write_run(tmp_path / hostile, memory=value), write_run(tmp_path / "plain")], tmp_path / "out")
    with opened(chromium, tmp_path / "out" / "compare.html", PHONE) as page:
        page.wait_for_selector("#chart polyline")
        assert hostile in page.locator("#legend").inner_text()
        assert value in page.locator("#differences").inner_text()
        assert page.locator("img").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a study with tables and pictures of its own, whose variants are twelve and have long names."""
    folder = tmp_path_factory.mktemp("reported")
    study = write_reported_study(folder / "study")
    for number in range(12):
        for seed in (1, 2):
            run = study / "cells" / f"a-variant-with-a-long-name-{number}" / f"seed-{seed}"
            write_run(run, seed, memory=str(100 + number), dropout=str(number / 100))
    compare([study], folder / "out")
    return folder / "out" / "compare.html"


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["1400", "390"])
@pytest.mark.parametrize("scheme", sampled(["light", "dark"], ("light",)))
def test_a_study_comes_first_with_its_table_and_pictures(
    chromium: Browser, reported: Path, size: tuple[int, int], scheme: str
) -> None:
    with opened(chromium, reported, size, scheme) as page:
        first = page.locator("section").first
        assert first.locator("h2").inner_text() == "Study study"
        assert first.locator("h3").first.inner_text() == "Ablation against lstm: valid BPC"
        captions = first.locator("figcaption").all_inner_texts()
        assert captions[:2] == ["Difference to the baseline", "Difference over training"]
        for picture in first.locator("img").all():  # it can be drawn, and its script does not run: no dialog came
            assert picture.evaluate("async image => { await image.decode(); return image.naturalWidth; }") > 0
            assert picture.evaluate("image => getComputedStyle(image).backgroundColor") == "rgb(255, 255, 255)"
            assert picture.bounding_box()["width"] <= size[0]  # type: ignore[index]
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]
        page.screenshot(path=SCREENSHOTS / f"compare-study-{size[0]}-{scheme}.png", full_page=True)


def assert_columns_can_be_seen(page: Page, width: int) -> None:
    """Each column of each table that is wider than its box, after scrolling that box; the first column and the page
    stay."""
    for box in page.locator(".scroll").all():
        if not box.evaluate("box => box.scrollWidth > box.clientWidth"):
            continue
        before = box.locator("thead th").first.bounding_box()
        box.evaluate("box => { box.scrollLeft = box.scrollWidth; }")
        last, first = box.locator("thead th").last.bounding_box(), box.locator("thead th").first.bounding_box()
        assert last is not None
        assert first is not None
        assert before is not None
        assert last["x"] + last["width"] <= width
        assert 0 <= before["x"] - first["x"] < 24, "the first column is sticky, at the edge of its box"
        assert first["width"] < 0.6 * width
        box.evaluate("box => { box.scrollLeft = 0; }")
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_no_column_is_lost_on_a_phone(chromium: Browser, reported: Path) -> None:
    with opened(chromium, reported, PHONE) as page:
        assert_columns_can_be_seen(page, PHONE[0])


def test_tables_fit_a_desk_without_scrolling(chromium: Browser, reported: Path, tmp_path: Path) -> None:
    """All but the table of configurations, which has a column a variant."""
    compare([write_task_study(tmp_path / "study")], tmp_path / "out")
    for path in (reported, tmp_path / "out" / "compare.html"):
        with opened(chromium, path) as page:
            found = "[...document.querySelectorAll('section:not(#differences) .scroll')]"
            assert (
                page.evaluate(f"{found}.filter(box => box.scrollWidth > box.clientWidth).map(box => box.innerText)")
                == []
            )

"""The page of a comparison of runs on tasks in a real browser, on a desk and on a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from rnnlab.views.compare import compare
from tests.browser.chromium import SCREENSHOTS, browser
from tests.browser.test_compare_page import DESK, PHONE, opened
from tests.rnnlab.run_folders import write_run
from tests.rnnlab.task_run_folders import write_task_run, write_task_study
from tests.sampled import sampled

pytestmark = pytest.mark.slow  # a browser takes seconds to start


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def parity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parity")
    compare([write_task_study(folder / "study")], folder / "out")
    return folder / "out" / "compare.html"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed")
    write_task_study(folder / "study" / "parity")
    write_task_study(folder / "study" / "recall", "Recall")
    write_run(folder / "study" / "text")
    compare([folder / "study"], folder / "out")
    return folder / "out" / "compare.html"


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["1400", "390"])
@pytest.mark.parametrize("scheme", sampled(["light", "dark"], ("light",)))
def test_curves_and_tables_fit_the_screen(chromium: Browser, parity: Path, size: tuple[int, int], scheme: str) -> None:
    with opened(chromium, parity, size, scheme) as page:
        page.wait_for_selector("#chart polyline[data-variant]")
        assert page.locator("#chart polyline[data-variant]").count() == 3
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]
        told = page.locator("#chart svg").text_content() or ""
        assert all(word in told for word in ("Accuracy", "Positions trained", "chance"))
        assert page.locator("section h2").last.inner_text() == "Parity: test accuracy by length"
        page.screenshot(path=SCREENSHOTS / f"compare-tasks-{size[0]}-{scheme}.png", full_page=True)


def test_the_best_is_the_highest_accuracy_and_chance_is_never_the_best(chromium: Browser, parity: Path) -> None:
    with opened(chromium, parity) as page:
        assert page.locator("#summary").inner_text().startswith("Highest validation accuracy on Parity: lstm, 1.000")
        (lstm,) = [
            row for row in page.locator("section table >> nth=0 >> tbody tr").all() if "lstm" in row.inner_text()
        ]
        assert lstm.locator("td.best").all_inner_texts()[:3] == ["1.000 ± 0.000"] * 3, "valid, best valid, test"
        by_length = page.locator("section table").last
        assert by_length.locator("tbody tr th").last.inner_text() == "chance"
        assert by_length.locator(".best").count() == 0


def test_higher_accuracy_is_higher_in_the_picture_and_first_in_the_list_of_values(
    chromium: Browser, parity: Path
) -> None:
    with opened(chromium, parity) as page:
        page.wait_for_selector("#chart polyline[data-variant]")
        last = "line => line.points[line.points.length - 1].y"
        ends = page.evaluate(f"[...document.querySelectorAll('#chart polyline[data-variant]')].map({last})")
        gru, lstm, qrnn = ends
        assert lstm < gru < qrnn, "y grows downward"
        box = page.locator("#chart").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] - 16, box["y"] + 60)
        assert "positions" in page.locator(".tip b").inner_text()
        assert page.locator(".tip i").all_inner_texts() == ["1.000", "0.900", "0.500"]


def test_the_curves_can_be_those_of_the_loss(chromium: Browser, parity: Path) -> None:
    with opened(chromium, parity) as page:
        page.locator("#words").get_by_role("button", name="Loss").click()
        told = page.locator("#chart svg").text_content() or ""
        assert "Loss [nats/answer]" in told
        assert "chance" not in told
        assert page.locator("#train-name").inner_text() == "Training loss"
        page.check("#train")
        assert "NaN" not in page.locator("#chart svg").inner_html()


def test_one_task_is_drawn_at_a_time_and_text_apart_from_them(chromium: Browser, mixed: Path) -> None:
    with opened(chromium, mixed) as page:
        lines = page.locator("#chart polyline[data-variant]")
        for subject, count, label, unit in (
            ("Recall", 3, "Accuracy", "Positions trained"),
            ("Text", 1, "BPC [bits/byte]", "Bytes trained"),
            ("Parity", 3, "Accuracy", "Positions trained"),
        ):
            page.locator("#subjects").get_by_role("button", name=subject, exact=True).click()
            assert lines.count() == count
            told = page.locator("#chart svg").text_content() or ""
            assert label in told
            assert unit in told
            assert page.locator("#legend button:visible").count() == count
            assert page.locator("#words").is_visible() == (subject != "Text")


def test_a_variant_has_one_color_on_all_tasks(chromium: Browser, mixed: Path) -> None:
    with opened(chromium, mixed) as page:
        colors = {}
        for subject in ("Parity", "Recall"):
            page.locator("#subjects").get_by_role("button", name=subject, exact=True).click()
            lines = page.locator("#chart polyline[data-variant]")
            colors[subject] = [lines.nth(i).get_attribute("stroke") for i in range(3)]
        assert colors["Parity"] == colors["Recall"]


def test_accuracies_of_different_tasks_are_not_ranked_together(chromium: Browser, mixed: Path) -> None:
    with opened(chromium, mixed) as page:
        summary = page.locator("#summary").inner_text()
        assert "Highest validation accuracy on Parity: parity/lstm" in summary
        assert "Highest validation accuracy on Recall: recall/lstm" in summary
        assert "Lowest validation BPC" not in summary, "there is only one run on text"
        assert page.locator("section table >> nth=0 >> td.best").count() == 3, "those of BPC"


def test_a_text_page_has_no_choice_of_tasks_or_words(chromium: Browser, tmp_path: Path) -> None:
    compare([write_run(tmp_path / "a"), write_run(tmp_path / "b", memory="9")], tmp_path / "out")
    with opened(chromium, tmp_path / "out" / "compare.html") as page:
        assert not page.locator("#subjects").is_visible()
        assert not page.locator("#words").is_visible()


def test_a_curve_of_one_point_is_a_dot(chromium: Browser, tmp_path: Path) -> None:
    folder = write_task_run(tmp_path / "a", {40: 1.0})
    journal = folder / "metrics.jsonl"
    journal.write_text([line for line in journal.read_text().splitlines(keepends=True) if '"valid"' in line][-1])
    compare([folder], tmp_path / "out")
    with opened(chromium, tmp_path / "out" / "compare.html") as page:
        line = page.locator("#chart polyline[data-variant]")
        first, second = str(line.get_attribute("points")).split()
        assert first == second
        assert float(str(line.get_attribute("stroke-width"))) > 5


def test_many_tasks_fit_a_phone(chromium: Browser, tmp_path: Path) -> None:
    for number in range(12):
        figures = {"task": {"name": f"SomeTask{number}", "difficulty": "length"}}
        write_task_run(tmp_path / f"run-{number}", {40: 1.0}, core=f"C{number}", figures=figures)
    compare([tmp_path], tmp_path / "out")
    with opened(chromium, tmp_path / "out" / "compare.html", PHONE) as page:
        page.wait_for_selector("#chart polyline")
        last = page.locator("#subjects button").last.bounding_box()
        assert last is not None
        assert last["x"] + last["width"] <= PHONE[0]
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]

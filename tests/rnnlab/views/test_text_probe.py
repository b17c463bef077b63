"""`rnnlab probe --text`: the page and the picture show the text, its bits and nothing else; any bytes will do."""

import json
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colors
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import rnnlab
from rnnlab.cli import main
from rnnlab.views.inspection import Inspection
from rnnlab.views.probe_pictures import to_png
from rnnlab.views.text_page import render_text
from rnnlab.views.text_picture import COLUMNS, ROWS, draw_text, ink, palette
from tests.rnnlab import quick_runs, small_tasks
from tests.rnnlab.small_texts import random_bytes, written

pytestmark = pytest.mark.slow  # whole runs

HOSTILE = (
    b"</pre><script src=http://x.example/a.js>alert('1')</script>&amp;\"" + "ï\u202e\x1b[2J".encode() + b"\xff\n\0a"
)


def inspection(text: bytes) -> Inspection:
    costs = np.random.default_rng(1).exponential(3.0, len(text))
    costs[0] = np.nan
    return Inspection(Path("runs/a"), 7, None, {"text": np.frombuffer(text, dtype=np.uint8), "surprisal": costs})


class Page(HTMLParser):
    """The text that a page shows, put together again, and the bits beside it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.raw, self.bits, self.tags = b"", list[float | None](), set[str]()
        self._hex: str | None = None
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "b":
            self._inside = True
            title = dict(attrs)["title"] or ""
            (said,) = re.findall(r": ([\d.]+) bits$|: not scored", title)
            self.bits.append(float(said) if said else None)
            raw = re.search(r", ([0-9a-f]{2}(?: [0-9a-f]{2})*):", title)
            self.raw += bytes.fromhex(raw[1]) if raw else b""
            self._hex = raw and raw[1]

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "b"

    def handle_data(self, data: str) -> None:
        if self._inside and not self._hex:
            self.raw += data.encode()


@pytest.mark.parametrize("text", [HOSTILE, bytes(range(256)), random_bytes(3000)], ids=["hostile", "each", "random"])
def test_a_page_holds_the_text_and_its_bits_and_obeys_nothing_in_it(text: bytes) -> None:
    found = inspection(text)
    source = render_text(found, "<b>odd</b>\x1b.txt")
    page = Page(source)
    assert page.raw == text
    assert page.bits[0] is None
    assert sum(bits or 0.0 for bits in page.bits) == pytest.approx(np.nansum(found["surprisal"]), abs=0.01 * len(text))
    assert page.tags <= {"html", "head", "meta", "title", "style", "body", "h1", "p", "div", "span", "pre", "b", "i"}
    assert "://" not in re.sub(r"<pre>.*</pre>", "", source, flags=re.DOTALL), "nothing is fetched"
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", source)


def test_a_page_says_what_its_colors_mean() -> None:
    source = render_text(inspection(b"abc"), "abc.txt")
    for level, color in enumerate(palette()):
        assert f".s{level} {{ background: {color};" in source
        assert re.search(rf'<span class="s{level}">[\d.]+\+?</span>', source)
    assert "bits/byte over 2 bytes" in source


def test_letters_can_be_read_on_every_color() -> None:
    def luminance(color: str) -> float:
        channels = np.array(colors.to_rgb(color))
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    levels = [luminance(color) for color in palette()]
    assert levels == sorted(levels, reverse=True), "the more bits, the darker"
    for color in palette():
        light, dark = sorted((luminance(color), luminance(ink(color))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, success criterion 1.4.3


@pytest.mark.parametrize("text", [HOSTILE, b"ab", "漢字🙂 $x^2$ naïve".encode()], ids=["hostile", "two", "glyphs"])
def test_a_picture_is_drawn_of_any_bytes_without_a_warning(text: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png, _ = to_png(draw_text(inspection(text), "$odd_{name}$.txt"))
    assert png.startswith(b"\x89PNG")


@pytest.mark.long
def test_a_picture_shows_the_beginning_of_a_long_text_and_says_so() -> None:
    figure = draw_text(inspection(b"ab cd " * 2000), "long.txt")
    assert len(figure.axes[0].texts) == COLUMNS * ROWS
    assert f"its first {COLUMNS * ROWS:,} bytes" in figure.axes[0].get_title(loc="left")
    lines = draw_text(inspection(b"a\n" * 100), "lines.txt")
    assert f"its first {2 * ROWS} bytes" in lines.axes[0].get_title(loc="left")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "run"
    quick_runs.train(path, steps=2)
    return path


def test_the_command_writes_picture_page_and_arrays(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = written(tmp_path / "mine.bin", HOSTILE * 8)
    before = {*(run / "tb").glob("*.pictures")}
    arrays = tmp_path / "mine.npz"
    command = ["probe", str(run), "--text", str(text), "--arrays", str(arrays), "--bytes", "400", "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert [Path(file) for file in told["files"]] == [run / "probe/text.png", run / "probe/text.html", arrays]
    want = rnnlab.inspect(run, (HOSTILE * 8)[:400])
    assert told["bpc"] == pytest.approx(want.bpc)
    assert (told["bytes_read"], told["text"], told["step"]) == (400, "mine.bin", 2)
    with np.load(arrays) as read:
        assert all(read[name] == pytest.approx(array, nan_ok=True) for name, array in want.arrays.items())
        assert set(read) == set(want.arrays)
    assert Page((run / "probe/text.html").read_text(encoding="utf-8")).raw == (HOSTILE * 8)[:400]
    (events,) = {*(run / "tb").glob("*.pictures")} - before
    assert [value.tag for event in EventFileLoader(str(events)).Load() for value in event.summary.value] == [
        "probe/text"
    ]


@pytest.mark.long
def test_a_text_is_read_with_another_memory(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = written(tmp_path / "mine.txt", bytes(range(256)))
    assert main(["probe", str(run), "--text", str(text), "--memory", "2", "--out", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["memory"] == 2
    assert told["bpc"] == pytest.approx(rnnlab.inspect(run, bytes(range(256)), memory=2).bpc)
    assert told["bpc"] != pytest.approx(rnnlab.inspect(run, bytes(range(256))).bpc)


def test_what_does_not_go_together_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = written(tmp_path / "mine.txt", b"some words")
    refusals = {
        "--split does not go with --text": ["--text", str(text), "--split", "all"],
        "--at does not go with --text": ["--text", str(text), "--at", "3"],
        "it takes the text that they are about: --text FILE": ["--arrays", str(tmp_path / "a.npz")],
        "--bytes 1: two or more": ["--text", str(text), "--bytes", "1"],
        "--memory 8 goes with --text; `rnnlab eval": ["--memory", "8"],
        "memory 0: a query sees at least itself": ["--text", str(text), "--memory", "0"],
        "missing.txt cannot be read: no such file or directory; name": ["--text", str(tmp_path / "missing.txt")],
        "has 1 bytes: a probe needs two": ["--text", str(written(tmp_path / "short", b"a"))],
        "none/a.npz: cannot be written": ["--text", str(text), "--arrays", str(tmp_path / "none" / "a.npz")],
    }
    for message, arguments in refusals.items():
        assert main(["probe", str(run), *arguments]) != 0
        assert message in capsys.readouterr().err


@pytest.mark.long
def test_a_run_on_a_task_gives_the_arrays_of_an_example_and_reads_no_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    small_tasks.train(run)
    assert main(["probe", str(run), "--at", "10", "--arrays", str(tmp_path / "a.npz")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as read:
        assert read["tokens"].tolist() == rnnlab.inspect(run, at=10)["tokens"].tolist()
    assert main(["probe", str(run), "--text", str(written(tmp_path / "text", b"0101"))]) == 2
    assert "was trained on the task" in capsys.readouterr().err

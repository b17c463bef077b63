"""How pictures of results for people and papers look, and how they are saved. PNG and SVG, the same every time.

Colors: Okabe and Ito's palette without its yellow, which white paper swallows; from the eighth series on the dashes
tell series apart, and every point also has a shape.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib import font_manager, ft2font
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from rnnlab.console import say
from rnnlab.errors import StorageError
from rnnlab.safe_text import printable
from rnnlab.storage.durable import storage_errors
from rnnlab.views.numerals import engineering

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[tuple[int, ...], ...] = ((), (6, 2), (2, 2), (6, 2, 2, 2))
SHAPES = "osD^vPX"
STYLE: dict[str, Any] = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": "#222222",
    "axes.titlesize": 10.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    "svg.hashsalt": "rnnlab",  # or the identifiers in an SVG change with every call
    "svg.fonttype": "path",
    "text.parse_math": False,  # a name with a dollar sign is a name
}

DASHED: dict[str, Any] = {"color": "#888888", "lw": 1, "dashes": (4, 3), "zorder": 1}
"""The line of what others are measured by: a baseline, chance."""

NAMING: dict[str, Any] = {"textcoords": "offset points", "color": "#222222",
                          "path_effects": [withStroke(linewidth=3, foreground="white")]}  # fmt: skip
"""How a text stands beside what it names."""


@contextmanager
def styled(**more: Any) -> Iterator[None]:
    """Draw in our style over matplotlib's defaults: what a user's matplotlibrc says could be TeX that is not there."""
    with matplotlib.style.context(["default", {**STYLE, **more}]):
        yield


def drawn(draw: Callable[[], Figure], folder: Path, stem: str) -> list[Path]:
    """Draw and save; a plot that fails costs the plot, and a line on standard error. Raises: StorageError."""
    try:
        with styled():
            return save(draw(), folder, stem)
    except StorageError:
        raise
    except Exception as error:
        say(f"{folder / stem}: the plot cannot be drawn ({type(error).__name__}: {error}); all else is written")
        return []


@dataclass(frozen=True)
class Floor:
    """A level that is no result: what a model reaches that has learned nothing."""

    value: float
    label: str


def draw_floor(axis: Any, floor: Floor | None) -> None:
    """A dotted line with its name on it. Where it would take more than half of the picture, a line of text says where
    it lies; so far away nothing has to be judged by eye."""
    if floor is None:
        return
    low, high = axis.get_ylim()
    size, room = high - low, 0.06 * (high - low)
    beyond = max(low - floor.value, floor.value - high)
    words: dict[str, Any] = {"fontsize": 8, "color": "#555555", "path_effects": NAMING["path_effects"], "zorder": 2}
    if beyond > size:
        above = floor.value > high
        text = f"{floor.label}: {floor.value:.3g}, {'above' if above else 'below'} this picture"
        place: dict[str, Any] = {"xytext": (4, -4 if above else 4), "va": "top" if above else "bottom"}
        axis.annotate(text, (0, float(above)), xycoords="axes fraction", textcoords="offset points", **place, **words)
        return
    axis.axhline(floor.value, color="#888888", lw=1.2, linestyle=":", zorder=1)
    axis.set_ylim(min(low, floor.value - room), max(high, floor.value + room))
    place = {"xytext": (4, 2), "va": "bottom", "xycoords": ("axes fraction", "data")}
    axis.annotate(floor.label, (0, floor.value), textcoords="offset points", **place, **words)


def save(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """Write `folder/stem.png` and `.svg`; equal figures give equal bytes. Raises: StorageError."""
    paths = [folder / f"{stem}.png", folder / f"{stem}.svg"]
    with storage_errors(f"{folder}: the plot cannot be written"), styled():
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(paths[0], dpi=160, metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


def tick(value: float) -> str:
    """As `engineering`, without trailing zeros behind the point: 2.50M -> 2.5M, 60.0k -> 60k."""
    return re.sub(r"^(-?\d+)(?:\.0+|(\.\d*[1-9])0*)(?=[A-Za-z]?$)", r"\1\2", engineering(value))


def stroke(index: int) -> dict[str, Any]:
    """Color and dashes of a series."""
    dashes = DASHES[index // len(PALETTE) % len(DASHES)]
    return {"color": PALETTE[index % len(PALETTE)], **({"dashes": dashes} if dashes else {})}


def marker(index: int) -> str:
    """The marker of a series; the eighth has the color of the first and another shape."""
    return SHAPES[(index + index // len(PALETTE)) % len(SHAPES)]


def capitalized(text: str) -> str:
    """The first letter a capital, the others as they are: MACs."""
    return text[:1].upper() + text[1:]


def legend_columns(labels: Sequence[str], width: float) -> int:
    """How many stand side by side beneath a picture of this width [inches], at most 6; the rows are about equal."""
    longest = 6.0 * max(map(len, labels), default=0) + 40  # [points], with the handle
    most = max(1, min(len(labels), 6, int(72 * width / longest)))
    rows = max(1, -(-len(labels) // most))
    return max(1, -(-len(labels) // rows))


def legible(name: str, longest: int = 48) -> str:
    """The name without what the font lacks (matplotlib would warn and draw boxes), shortened in its middle."""
    known = _glyphs()
    text = "".join(c if ord(c) in known else "?" for c in printable(name))
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half + 1 :]}"


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    return frozenset(ft2font.FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap())

"""How pictures of results for people and papers look, and BPC against cost. PNG and SVG, the same every time.

Colors: Okabe and Ito's palette without its yellow, which white paper swallows; from the eighth series on the dashes
tell series apart, and every point also has a shape.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib import font_manager, ft2font
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from rnnlab.console import say
from rnnlab.errors import StorageError
from rnnlab.safe_text import printable
from rnnlab.storage.durable import storage_errors
from rnnlab.views.intervals import Interval
from rnnlab.views.numerals import engineering

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[tuple[int, ...], ...] = ((), (6, 2), (2, 2), (6, 2, 2, 2))
SHAPES = "osD^vPX"
SIDES = tuple((x, y) for y in (0, 9, -9, 20, -20) for x in (10, -10))  # where a label may stand [points]
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
class CostPoint:
    """A variant in the plot of BPC against cost."""

    name: str
    cost: float
    bpc: Interval
    is_baseline: bool = False


@styled()
def bpc_against_cost(points: Sequence[CostPoint], cost_label: str, bpc_label: str) -> Figure:
    """One point a variant, with its 95% interval, named where it stands; a dashed line marks the baseline.

    Variants that cost the same stand side by side.
    """
    points = _side_by_side(points)
    figure = Figure(figsize=(6.6, 4.4), layout="constrained")
    axis = figure.subplots()
    for index, point in enumerate(points):
        mark: dict[str, Any] = {"fmt": marker(index), "color": PALETTE[index % len(PALETTE)], "ms": 7}
        axis.errorbar(point.cost, point.bpc.mean, point.bpc.half_width, **mark, lw=1.6, capsize=4, zorder=3)
        if point.is_baseline:
            axis.axhline(point.bpc.mean, **DASHED)
    axis.margins(x=0.2, y=0.14)
    axis.set_xlabel(f"{cost_label[:1].upper()}{cost_label[1:]}")
    axis.set_ylabel(f"{bpc_label[:1].upper()}{bpc_label[1:]} [bits/byte], mean and 95% interval")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: tick(x)))
    axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    _name_points(figure, axis, points)
    return figure


def _side_by_side(points: Sequence[CostPoint]) -> list[CostPoint]:
    """Points whose costs differ by less than a fiftieth of the axis, moved apart by as much: intervals on top of each
    other cannot be read. The order along the axis stays."""
    costs = [point.cost for point in points]
    step = 0.02 * ((max(costs) - min(costs)) or abs(costs[0]) or 1.0) if costs else 0.0
    order = sorted(range(len(points)), key=lambda index: costs[index])
    groups: list[list[int]] = []
    for index in order:
        if groups and costs[index] - costs[groups[-1][-1]] < step:
            groups[-1].append(index)
        else:
            groups.append([index])
    placed = list(points)
    for group in groups:
        middle = sum(costs[index] for index in group) / len(group)
        for rank, index in enumerate(group):
            placed[index] = replace(points[index], cost=middle + step * (rank - (len(group) - 1) / 2))
    return placed


def _name_points(figure: Figure, axis: Any, points: Sequence[CostPoint]) -> None:
    """A label at each point, on the side where it covers least: marks, intervals, labels, the baseline."""
    figure.draw_without_rendering()  # the layout decides where a point is
    renderer = FigureCanvasAgg(figure).get_renderer()
    taken = [box for point in points for box in _boxes(axis, point)]

    def covered(label: Any) -> int:
        box = label.get_window_extent(renderer)
        outside = box.x0 < axis.bbox.x0 or box.x1 > axis.bbox.x1
        return 100 * int(outside) + sum(int(box.overlaps(other)) for other in taken)

    for point in points:
        labels = [_label(axis, point, *side) for side in SIDES]
        best = min(labels, key=covered)
        taken.append(best.get_window_extent(renderer))
        for label in labels:
            if label is not best:
                label.remove()


def _label(axis: Any, point: CostPoint, x: float, y: float) -> Any:
    """The point's name, x and y [points] away from it."""
    return axis.annotate(
        legible(point.name) + (" (baseline)" if point.is_baseline else ""),
        (point.cost, point.bpc.mean),
        (x, y),
        ha="left" if x > 0 else "right",
        va="center" if y == 0 else "bottom" if y > 0 else "top",
        zorder=4,
        in_layout=False,  # or it would move the points that it stands beside
        **NAMING,
    )


def _boxes(axis: Any, point: CostPoint) -> list[Bbox]:
    """What a point covers of the picture: its mark, its interval, and the baseline's line [pixels]."""
    half = point.bpc.half_width or 0.0
    x, y = axis.transData.transform((point.cost, point.bpc.mean))
    ends = [(point.cost, point.bpc.mean - half), (point.cost, point.bpc.mean + half)]
    (_, low), (_, high) = axis.transData.transform(ends)
    boxes = [Bbox.from_bounds(x - 6, y - 6, 12, 12), Bbox.from_extents(x - 5, low, x + 5, high)]
    return [*boxes, Bbox.from_extents(axis.bbox.x0, y - 1, axis.bbox.x1, y + 1)] if point.is_baseline else boxes


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
    """The marker of a series."""
    return SHAPES[index % len(SHAPES)]


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

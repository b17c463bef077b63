"""Learning curves as a picture: validation strong, seeds and training thin."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rnnlab.views.metrics import Word
from rnnlab.views.plots import DASHED, legend_columns, legible, marker, stroke, styled, tick

LABELS: dict[Word, str] = {"BPC": "BPC [bits/byte]", "accuracy": "Accuracy", "nats": "Loss [nats/answer]"}
Line = Sequence[tuple[float, float]]
MOST_ACROSS = 3  # panels


@dataclass(frozen=True)
class Series:
    """The learning curves of one variant in one panel."""

    name: str  # of the variant
    mean: Line  # points (x, value) of the mean over seeds
    runs: Sequence[Line]  # points of each seed; drawn thin if there are several
    train: Sequence[Line] = ()  # of training, of each seed, in the same units; drawn thin


@dataclass(frozen=True)
class Panel:
    """Learning curves over one x axis."""

    label: str
    series: Sequence[Series]
    title: str = ""
    chance: float | None = None  # what a model reaches that has learned nothing; a dashed line


@styled()
def learning_curves(panels: Sequence[Panel], word: Word = "BPC") -> Figure:
    """Panels side by side over one axis of this word, at most three in a row, and one legend beneath."""
    names = list(dict.fromkeys(series.name for panel in panels for series in panel.series))
    across = min(MOST_ACROSS, len(panels))
    down, width = -(-len(panels) // across), 4.2 * across
    labels = [f" {legible(name)}" for name in names]  # matplotlib leaves out those that begin with an underscore
    handles = [Line2D([], [], lw=2, marker=marker(i), markersize=4, **stroke(i)) for i in range(len(names))]
    if any(panel.chance is not None for panel in panels):
        handles, labels = [*handles, Line2D([], [], **DASHED)], [*labels, f" {_floor(panels, word)}"]
    columns = legend_columns(labels, width)
    rows = -(-len(labels) // columns)
    figure = Figure(figsize=(width, 3.9 + 3.6 * (down - 1) + 0.22 * rows), layout="constrained")
    axes = figure.subplots(down, across, sharey=True, squeeze=False).flatten()
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for panel, axis in zip(panels, axes, strict=False):
        for series in panel.series:
            _draw_series(axis, series, names.index(series.name))
        if panel.chance is not None:
            axis.axhline(panel.chance, **DASHED)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: tick(x)))
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.set(xlabel=panel.label, xlim=(0, None), title=legible(panel.title))
    axes[0].set_ylim(_limits(panels, word))
    for axis in axes[::across]:
        axis.set_ylabel(LABELS[word])
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure


def _draw_series(axis: Any, series: Series, index: int) -> None:
    style = stroke(index)
    for points in series.train:
        axis.plot(*_xy(points), lw=0.7, alpha=0.3, **style)
    for points in series.runs if len(series.runs) > 1 else ():
        axis.plot(*_xy(points), lw=0.8, alpha=0.5, **style)
    every = max(1, len(series.mean) // 8)
    axis.plot(*_xy(series.mean), lw=2, marker=marker(index), markersize=4, markevery=every, **style)


def _xy(points: Line) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _limits(panels: Sequence[Panel], word: Word) -> tuple[float, float]:
    return _accuracies(panels) if word == "accuracy" else _losses(panels[0])


def _floor(panels: Sequence[Panel], word: Word) -> str:
    """What the dashed line is; where it lies, if it is not in the picture."""
    if word == "accuracy":
        return "chance"
    levels = {panel.chance for panel in panels if panel.chance is not None}
    low, high = _limits(panels, word)
    beyond = [f"{level:.3f}, {'above' if level > high else 'below'}" for level in levels if not low <= level <= high]
    return "entropy of single bytes" + (f": {beyond[0]} this picture" if beyond else "")


def _losses(panel: Panel) -> tuple[float, float]:
    """What validation shows after the first tenth: the beginning would squeeze all that matters to a line."""
    points = _validation(panel) or [(0.0, 0.0), (0.0, 8.0)]
    start = max(x for x, _ in points) / 10
    shown = [loss for x, loss in points if x >= start]
    room = 0.06 * (max(shown) - min(shown)) or 0.1
    return min(shown) - room, max(shown) + room


def _accuracies(panels: Sequence[Panel]) -> tuple[float, float]:
    """From the lowest that is drawn, chance among it, to 1: how far a model is from both can be seen."""
    series = [series for panel in panels for series in panel.series]
    drawn = [y for one in series for line in (*one.runs, *one.train) for _, y in line]
    lowest = min([*drawn, *(panel.chance for panel in panels if panel.chance is not None)], default=0.0)
    room = 0.04 * (1 - lowest) or 0.04
    return lowest - room, 1 + room


def _validation(panel: Panel) -> list[tuple[float, float]]:
    """All its points; those of training if there are none."""
    return [point for series in panel.series for run in series.runs for point in run] or [
        point for series in panel.series for run in series.train for point in run
    ]

"""The matrix of variants against tasks, as a picture: accuracy in every cell, colored from chance to 1."""

import itertools
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rnnlab.views import numerals
from rnnlab.views.difficulties import TaskTest
from rnnlab.views.matrix import MatrixColumn, matrix_columns, matrix_rows
from rnnlab.views.plots import legible, styled

MAP = LinearSegmentedColormap.from_list("chance to 1", [colormaps["Blues"](x) for x in np.linspace(0.0, 0.95, 64)])
DARK, LIGHT = "#000000", "#ffffff"
CELL = (0.66, 0.32)  # [inches]
GAP = 0.14  # between two tasks [inches]
LETTER, SMALL = 0.078, 0.066  # about the width of one [inches]


@dataclass(frozen=True)
class _Placed(MatrixColumn):
    left: float  # [inches]
    width: float  # [inches]

    def share(self, accuracy: float) -> float:
        """How much of the way from chance to 1 it is; 0 for chance and below."""
        chance = self.test.chance(self.difficulty) or 0.0
        return min(1.0, max(0.0, (accuracy - chance) / (1 - chance))) if chance < 1 else 1.0


@styled(**{"axes.grid": False})
def task_matrix(tests: Sequence[TaskTest]) -> Figure:
    """A row a variant; of each task a column for the greatest difficulty that was trained on, and one for the greatest
    that was tested. Lightness alone tells the order, so that it reads in grey as well."""
    columns = list(_placed(matrix_columns(tests)))
    rows = matrix_rows(columns)
    labels = [legible(row) for row in rows]
    width, height = columns[-1].left + columns[-1].width, CELL[1] * len(rows)
    figure = Figure(figsize=(width + LETTER * max(map(len, labels)) + 1.3, height + 1.35), layout="constrained")
    axis = figure.subplots()
    for column in columns:
        for index, row in enumerate(rows):
            _fill(axis, column, index * CELL[1], column.mean(row))
    _head(axis, columns)
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.set_yticks([(index + 0.5) * CELL[1] for index in range(len(rows))], labels)
    caption = textwrap.wrap(_caption(tests), int((width + 1.0) / SMALL))
    axis.set_xlabel("\n".join(caption), fontsize=8.5, labelpad=8)
    axis.tick_params(length=0, labelcolor="#222222")
    axis.spines[:].set_visible(False)
    bar = figure.colorbar(ScalarMappable(cmap=MAP), ax=axis, aspect=14, pad=0.02, ticks=[0, 1])
    bar.ax.set_yticklabels(["chance", "1"])
    bar.ax.tick_params(length=0, labelcolor="#222222")
    bar.outline.set_edgecolor("#bbbbbb")  # type: ignore[operator]
    return figure


def _placed(columns: Sequence[MatrixColumn]) -> Iterator[_Placed]:
    left = 0.0
    for test, own in itertools.groupby(columns, lambda column: column.test):
        levels = list(own)
        width = max(CELL[0], (LETTER * len(_title(test)) + 0.12) / len(levels))
        for one in levels:
            yield _Placed(test, one.difficulty, one.names, left, width)
            left += width
        left += GAP


def _fill(axis: Any, column: _Placed, top: float, accuracy: float | None) -> None:
    place = (column.left, top), column.width, CELL[1]
    middle = column.left + column.width / 2, top + CELL[1] / 2
    if accuracy is None:
        axis.add_patch(Rectangle(*place, facecolor="#f2f2f2", edgecolor="white", lw=1.5))
        axis.text(*middle, "–", ha="center", va="center_baseline", color="#767676")
        return
    color = MAP(column.share(accuracy))
    axis.add_patch(Rectangle(*place, facecolor=color, edgecolor="white", lw=1.5))
    axis.text(*middle, numerals.decimal(3)(accuracy), ha="center", va="center_baseline", color=_readable_on(color))


def _readable_on(color: Sequence[float]) -> str:
    """Black or white, whichever has the greater contrast. Source: WCAG 2.1, relative luminance."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return DARK if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else LIGHT


def _head(axis: Any, columns: Sequence[_Placed]) -> None:
    """The difficulty over each column, and over the columns of a task its name."""
    axis.xaxis.tick_top()
    axis.set_xticks(
        [column.left + column.width / 2 for column in columns],
        [numerals.grouped(column.difficulty) for column in columns],
    )
    for test in dict.fromkeys(id(column.test) for column in columns):
        own = [column for column in columns if id(column.test) == test]
        middle = (own[0].left + own[-1].left + own[-1].width) / 2
        axis.annotate(
            f"{_title(own[0].test)}\n{own[0].test.difficulty}",
            (middle, 0),
            (0, 18),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color="#222222",
            linespacing=1.15,
        )


def _title(test: TaskTest) -> str:
    return legible(test.task, longest=24)


def _caption(tests: Sequence[TaskTest]) -> str:
    """What the two columns of a task are."""
    told = all(test.trained for test in tests)
    first = (
        "greatest difficulty that was trained on" if told else "least difficulty, or the greatest that was trained on"
    )
    return f"Test accuracy. Of each task, left: at the {first}; right: at the greatest that was tested."

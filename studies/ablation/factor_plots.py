"""Interaction plots: a line for each level of one factor over the levels of another. Lines that are not parallel
depend on each other."""

import itertools
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from rnnlab.studies.ablation.factors import Grid, finite_interval
from rnnlab.views import plots
from rnnlab.views.metrics import Metric

MOST_ACROSS = 3  # panels
DODGE = 0.05  # between the marks of two lines, of the distance of two levels


@plots.styled()
def interaction_plot(grid: Grid, metric: Metric, floor: plots.Floor | None = None) -> Figure:
    """A panel for each two factors, with the mean over the levels of all others and its 95% interval over seeds."""
    pairs = list(itertools.combinations(grid.factors, 2))
    across = min(MOST_ACROSS, len(pairs))
    down = -(-len(pairs) // across)
    figure = Figure(figsize=(4.6 * across if across > 1 else 5.4, 4.0 * down), layout="constrained")
    axes = figure.subplots(down, across, sharey=True, squeeze=False).flatten()
    for axis in axes[len(pairs) :]:
        axis.set_visible(False)
    for axis, (lines, along) in zip(axes, pairs, strict=False):
        _draw(axis, grid, lines, along)
    for axis in axes[::across]:
        axis.set_ylabel(f"{metric.heading} [{metric.unit}], mean and 95% interval")
    for axis in axes[: len(pairs)]:
        plots.draw_floor(axis, floor)
    return figure


def _draw(axis: Any, grid: Grid, lines: str, along: str) -> None:
    levels, steps = grid.factors[lines], grid.factors[along]
    for index, level in enumerate(levels):
        shift = DODGE * (index - (len(levels) - 1) / 2)
        by_step = [finite_interval(grid.mean({lines: level, along: step})) for step in steps]
        known = [(x + shift, one) for x, one in enumerate(by_step) if one is not None]
        axis.errorbar(
            [x for x, _ in known],
            [one.mean for _, one in known],
            [one.half_width or 0.0 for _, one in known],
            label=f" {plots.legible(level, 32)}",
            marker=plots.marker(index),
            ms=6,
            lw=1.6,
            capsize=3,
            **plots.stroke(index),
        )
    longest = max(len(step) for step in steps)
    crowded = longest * len(steps) > 40
    axis.set_xticks(range(len(steps)), [plots.legible(step, 32) for step in steps], **_turned(crowded))
    axis.set_xlim(-0.4, len(steps) - 0.6)
    axis.set_xlabel(plots.legible(along))
    axis.grid(visible=False, axis="x")
    axis.legend(title=plots.legible(lines), loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=_columns(levels))


def _turned(crowded: bool) -> dict[str, Any]:
    return {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if crowded else {}


def _columns(levels: Sequence[str]) -> int:
    return plots.legend_columns([plots.legible(level, 32) for level in levels], 4.4)

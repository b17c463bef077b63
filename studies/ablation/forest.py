"""The forest plot of an ablation: the paired difference of every variant to the baseline, which is what to look at."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rnnlab.studies.ablation.statistics import VariantStatistics
from rnnlab.views import numerals, plots
from rnnlab.views.intervals import Interval
from rnnlab.views.metrics import Metric
from rnnlab.views.tables import DAGGER

ROW = 0.27  # height of a row [inches]


@plots.styled()
def forest_plot(
    statistics: Mapping[str, VariantStatistics], baseline: str, metric: Metric, at_floor: frozenset[str] = frozenset()
) -> Figure:
    """A row a variant, in the order given: its mean difference, the 95% interval, and both in figures at the right.

    Args:
        statistics: of every variant, the baseline among them.
        at_floor: variants that have learned nothing; a dagger says so. Where a few of them lie far from others that
            differ, they are triangles at the edge: their figures stand at the right.
    """
    rows = [(name, one.difference) for name, one in statistics.items() if one.difference is not None]
    figure = Figure(figsize=(7.2, 1.25 + ROW * max(2, len(rows))), layout="constrained")
    axis = figure.subplots()
    axis.axvline(0, **plots.DASHED)
    shown = numerals.plus_minus(metric.digits, signed=True)
    intervals = {name: one.interval for name, one in rows if one.interval is not None}
    low, high = _limits(_to_be_told_apart(intervals, at_floor))
    figures = []
    for row, (name, difference) in enumerate(rows):
        interval = difference.interval
        figures.append("none" if interval is None else shown(interval))
        if interval is None:
            continue
        if not low <= interval.mean <= high:
            beyond = interval.mean > high
            axis.plot(high if beyond else low, row, marker=">" if beyond else "<", color="#888888", clip_on=False)
            continue
        hollow: dict[str, Any] = {"mfc": "white"} if interval.half_width is None or name in at_floor else {}
        color = "#888888" if name in at_floor else plots.PALETTE[0]
        axis.errorbar(
            interval.mean, row, xerr=interval.half_width, fmt="s", ms=5, lw=1.6, capsize=3, color=color, **hollow
        )
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_yticks(
        range(len(rows)),
        [plots.legible(name, 40) + f" {DAGGER}" * (name in at_floor) for name, _ in rows],
        color="#222222",
    )
    axis.grid(visible=False, axis="y")
    axis.set_xlim(low, high)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.set_xlabel(f"Δ {metric.title} [{metric.unit}], mean and 95% interval, paired by seed")
    numbers = axis.secondary_yaxis("right")
    numbers.set_yticks(range(len(rows)), figures, color="#222222")
    for side in (numbers, axis):
        side.tick_params(axis="y", length=0)
        side.spines[:].set_visible(False)
    axis.spines["bottom"].set_visible(True)
    ends = ("worse", "better →") if metric.higher_is_better else ("← better", "worse")
    for end, word, place in zip(("left", "right"), ends, (0.0, 1.0), strict=True):
        axis.annotate(word, (place, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", ha=end,
                      va="bottom", fontsize=9, color="#555555")  # fmt: skip
    axis.set_title(f"against {plots.legible(baseline)}", pad=16)
    return figure


def _to_be_told_apart(intervals: Mapping[str, Interval], at_floor: frozenset[str]) -> list[Interval]:
    """What the axis has to hold: everything, unless a few at the floor would make the others one dot."""
    others = [one for name, one in intervals.items() if name not in at_floor]
    differ = any(end for one in others for end in (one.low, one.mean, one.high))
    return others if differ and 2 * len(others) >= len(intervals) else list(intervals.values())


def _limits(intervals: Sequence[Interval]) -> tuple[float, float]:
    """Of the axis: all intervals and zero, with some room."""
    ends = [0.0, *(end for one in intervals for end in (one.low, one.mean, one.high) if end is not None)]
    room = 0.06 * (max(ends) - min(ends)) or 0.01
    return min(ends) - room, max(ends) + room

"""The paired difference to the baseline over training: does an effect grow, shrink or cross zero?

From the journals of the runs. A variant and the baseline with one seed are paired at the same number of bytes; where
their evaluations are not at equal ones, the first is paired with the first, and so on. Seeds of a task draw lengths of
their own, so over the seeds it is the first evaluations, the second ones, and so on, that have a mean, and they stand
at the mean of what had been trained by then.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rnnlab.studies.metric import counted_in
from rnnlab.views import numerals, plots, tables
from rnnlab.views.curves import Point
from rnnlab.views.intervals import Interval, mean_interval
from rnnlab.views.metrics import Metric

Curve = Sequence[Point]
BySeed = Mapping[int, Curve]

MOST_ACROSS = 5  # panels


@dataclass(frozen=True)
class DifferenceThen:
    """A variant less the baseline at one evaluation."""

    trained: float  # mean over the runs [bytes], of a task [positions]
    interval: Interval  # over the seeds, paired


def differences(baseline: BySeed, variant: BySeed) -> list[DifferenceThen]:
    """One for each evaluation that all the seeds have which both were trained with; none if there is no such seed.

    Args:
        baseline, variant: the validation curve by seed.
    """
    seeds = [seed for seed in sorted(baseline) if baseline[seed] and variant.get(seed)]
    paired = [list(_pairs(baseline[seed], variant[seed])) for seed in seeds]
    return [
        DifferenceThen(
            sum(before.bytes + after.bytes for before, after in at) / (2 * len(at)),
            mean_interval([after.value - before.value for before, after in at]),
        )
        for at in zip(*paired, strict=False)
    ]


def _pairs(baseline: Curve, variant: Curve) -> Iterator[tuple[Point, Point]]:
    known = {point.bytes: point for point in baseline}
    shared = [(known[point.bytes], point) for point in variant if point.bytes in known]
    yield from shared if len(shared) == min(len(baseline), len(variant)) else zip(baseline, variant, strict=False)


def difference_table(found: Mapping[str, Sequence[DifferenceThen]], baseline: str, metric: Metric) -> tables.Table:
    """A row for each variant and evaluation.

    Args:
        found: the differences by variant.
    """
    counted = counted_in(metric)
    columns = [
        tables.Column("variant", "Variant"),
        tables.Column("trained", f"{counted.capitalize()}s trained", "number", numerals.engineering),
        tables.Column("difference", f"Δ {metric.word}", "interval", numerals.plus_minus(metric.digits, signed=True)),
        tables.Column("seeds", "Seeds", "number"),
    ]
    rows: list[dict[str, tables.Cell]] = [
        {"variant": name, "trained": one.trained, "difference": one.interval, "seeds": one.interval.count}
        for name, points in found.items()
        for one in points
    ]
    notes = [f"Valid {metric.word} at the evaluations during training, less that of {baseline}, paired by seed."]
    if any(one.interval.half_width is not None for points in found.values() for one in points):
        notes.append("± is half the 95% confidence interval (Student t) over seeds.")
    return tables.Table(f"Difference to {baseline} over training: valid {metric.word}", columns, rows, notes)


@plots.styled()
def difference_plot(found: Mapping[str, Sequence[DifferenceThen]], baseline: str, metric: Metric) -> Figure:
    """A panel a variant, all with the same axes: the mean difference, its 95% interval as a band, and zero."""
    drawn = {name: points for name, points in found.items() if points}
    across = min(MOST_ACROSS, max(1, math.ceil(math.sqrt(len(drawn)))))
    down = max(1, -(-len(drawn) // across))
    wide, high = (3.4, 2.7) if across < 4 else (2.6, 2.1)
    figure = Figure(figsize=(max(4.6, wide * across + 0.6), high * down + 0.9), layout="constrained")
    axes = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flatten()
    for axis in axes[len(drawn) :]:
        axis.set_visible(False)
    for index, (axis, (name, points)) in enumerate(zip(axes, drawn.items(), strict=False)):
        color = plots.PALETTE[0]
        trained = [one.trained for one in points]
        axis.axhline(0, **plots.DASHED)
        axis.plot(trained, [one.interval.mean for one in points], marker="o", ms=3.5, lw=1.6, color=color)
        bounded = [one for one in points if one.interval.half_width is not None]
        ends = [
            [end for one in bounded if (end := getattr(one.interval, side)) is not None] for side in ("low", "high")
        ]
        axis.fill_between([one.trained for one in bounded], *ends, color=color, alpha=0.2, lw=0)
        axis.set_title(plots.legible(name, 30))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: plots.tick(x)))
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.tick_params(labelbottom=index + across >= len(drawn))
    if drawn:
        axes[0].set(xlim=(0, None), ylim=_limits(list(drawn.values())))
    better = "above" if metric.higher_is_better else "below"
    figure.supxlabel(f"{counted_in(metric).capitalize()}s trained", fontsize=9.5, color="#222222")
    figure.supylabel(f"Δ valid {metric.word} [{metric.unit}]", fontsize=9.5, color="#222222")
    title = [f"Difference to {plots.legible(baseline)}, mean and 95% interval", f"{better} zero is better"]
    figure.suptitle(("\n" if across < 3 else "; ").join(title), fontsize=10.5)
    return figure


def _limits(curves: Sequence[Sequence[DifferenceThen]]) -> tuple[float, float]:
    """All that is drawn after the first fifth of training: the beginning would squeeze what matters to a line."""
    longest = max(points[-1].trained for points in curves)
    late = [one.interval for points in curves for one in points if one.trained > longest / 5]
    ends = [0.0, *(end for one in late for end in (one.low, one.mean, one.high) if end is not None)]
    room = 0.06 * (max(ends) - min(ends)) or 0.1
    return min(ends) - room, max(ends) + room

"""How good the best of n trials is: the tuning curve of a search.

Source: Dodge et al. 2019, arXiv:1909.03004, section 3. Of N trials, the i-th best is the best of n draws with
    probability ((N - i + 1) / N)^n - ((N - i) / N)^n,
which gives the expectation, and its quantiles give the band: nothing is sampled.
Differs: a trial that was pruned counts with the last value it reported, and one that diverged as the worst of all.

The draws are with replacement, as if each trial were drawn at random. Trials that TPE suggested are better than that,
so the curve of such a search describes its trials rather than a random search.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from optuna.trial import FrozenTrial

from rnnlab.studies.metric import rank
from rnnlab.views import numerals, plots
from rnnlab.views.metrics import Metric
from rnnlab.views.tables import Column, Table

TAILS = (0.025, 0.975)  # ends of the band
COLOR = plots.PALETTE[0]


@dataclass(frozen=True)
class BestOf:
    """The best of a number of trials, in the metric's unit.

    Attributes:
        trials: how many are drawn.
        expected: mean of the best.
        low: where the middle 95% of it begin.
        high: where they end.
    """

    trials: int
    expected: float
    low: float
    high: float


def tuning_curve(values: Sequence[float], counts: Iterable[int], higher_is_better: bool = False) -> list[BestOf]:
    """The best of each of these numbers of draws from trials that reached these values, in any order."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    ordered = ordered[::-1] if higher_is_better else ordered  # the best first
    worse = np.arange(len(ordered), -1, -1) / len(ordered)  # share of the trials behind the best 0, 1, 2, ...
    curve = []
    for count in counts:
        missed = worse**count  # that none of the best i is drawn
        likely, last = ordered[[np.argmax(1 - missed[1:] >= share - 1e-12) for share in TAILS]].tolist()
        curve.append(BestOf(count, float(-np.diff(missed) @ ordered), min(likely, last), max(likely, last)))
    return curve


def shown_counts(total: int) -> list[int]:
    """Where the curve is drawn: everywhere, or of many trials at some, the more densely the fewer they are."""
    return sorted({*range(1, min(total, 50) + 1), *np.geomspace(1, total, 150).round().astype(int).tolist()})


def told_counts(total: int) -> list[int]:
    """1, 2, 3, 5, 10, 20, 30, 50, ... and all."""
    return sorted({total, *(m * 10**p for p in range(7) for m in (1, 2, 3, 5) if m * 10**p <= 0.8 * total)})


def reached_values(trials: Sequence[FrozenTrial], metric: Metric) -> list[float]:
    """What each finished trial counts with; empty if none reached anything."""
    found = [t.value if t.value is not None and math.isfinite(t.value) else None for t in trials]
    finite = [value for value in found if value is not None]
    worst = max(finite, key=lambda value: rank(metric, value), default=0.0)
    return [worst if value is None else value for value in found] if finite else []


def tuning_table(curve: Sequence[BestOf], metric: Metric, total: int) -> Table:
    """The curve as a table; `total` is how many trials there are."""
    show = numerals.decimal(4)
    columns = [
        Column("trials", "Trials", "number"),
        Column(metric.key, f"Expected best {metric.title}", "number", show),
        Column("low", "95% from", "number", show),
        Column("high", "to", "number", show),
    ]
    rows = [{"trials": at.trials, metric.key: at.expected, "low": at.low, "high": at.high} for at in curve]
    notes = [
        f"The best of so many trials, drawn with replacement from the {total} of this search (Dodge et al. 2019); "
        "exact, nothing is sampled.",
        "A pruned trial counts with the last value that it reported, one that diverged as the worst of all.",
    ]
    return Table("Expected best after n trials", columns, rows, notes)


def tuning_picture(curve: Sequence[BestOf], metric: Metric, baseline: float | None = None) -> Figure:
    """The curve with its band; a dashed line is what the baseline reached.

    The axis holds the curve from three trials on. The best of one or two may be a trial that was pruned early, and
    would squeeze the rest; the table has it.
    """
    with plots.styled():
        figure = Figure(figsize=(6.6, 4.0), layout="constrained")
        axis = figure.subplots()
        trials = [at.trials for at in curve]
        low, high = [at.low for at in curve], [at.high for at in curve]
        axis.fill_between(trials, low, high, color=COLOR, alpha=0.18, lw=0, label="95% of the best of n")
        mark = "o" if len(curve) == 1 else None
        expected = [at.expected for at in curve]
        axis.plot(trials, expected, color=COLOR, lw=1.8, marker=mark, label="expected best of n")
        if baseline is not None:
            axis.axhline(baseline, **plots.DASHED, label="baseline")
        axis.set(xlabel="Trials n", ylabel=f"{metric.heading} [{metric.unit}]")
        shown = [at.expected for at in curve[2:] or curve]
        shown += [at.low for at in curve[2:]] if not metric.higher_is_better else [at.high for at in curve[2:]]
        ends = _with_room([*shown, *([] if baseline is None else [baseline])])
        axis.set_ylim(*ends)
        axis.set_xscale("log")
        axis.set_xticks(told_counts(curve[-1].trials))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: plots.tick(x)))
        axis.xaxis.set_minor_locator(NullLocator())
        figure.legend(loc="outside lower center", ncols=3)
        return figure


def _with_room(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.15 * (high - low) or 0.05
    return low - room, high + room

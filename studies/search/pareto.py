"""What a better result costs: trials by metric and MACs, and those that no other beats in both."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from rnnlab.studies.launch.run import finished
from rnnlab.studies.metric import counted_in, rank
from rnnlab.studies.search.database import run_folders
from rnnlab.views import plots
from rnnlab.views.metrics import Metric


@dataclass(frozen=True)
class PricedTrial:
    """A complete trial with its cost.

    Attributes:
        number: of the trial.
        macs: multiply-accumulates per byte or position.
        reached: in the metric's unit.
    """

    number: int
    macs: float
    reached: float


def with_costs(trials: Sequence[FrozenTrial], parent: Path) -> list[FrozenTrial]:
    """The trials, each with the MACs of its run; of a study begun before they were recorded, from the run's folder."""
    return [trial if "macs_per_byte" in trial.user_attrs else _with_cost(trial, parent) for trial in trials]


def _with_cost(trial: FrozenTrial, parent: Path) -> FrozenTrial:
    result = next((found for folder in run_folders(parent, trial) if (found := finished(folder))), None)
    if result is None:
        return trial
    costed = copy.copy(trial)
    costed.user_attrs = {**trial.user_attrs, "macs_per_byte": result.get("macs_per_byte")}
    return costed


def priced(trials: Sequence[FrozenTrial]) -> list[PricedTrial]:
    """The complete trials whose cost is known."""
    return [
        PricedTrial(t.number, float(macs), float(t.value))
        for t in trials
        if t.state is TrialState.COMPLETE and t.value is not None and (macs := t.user_attrs.get("macs_per_byte"))
    ]


def pareto_front(points: Sequence[PricedTrial], metric: Metric) -> list[PricedTrial]:
    """Those that no other equals or beats in both, the cheapest first; of two that are alike the earlier trial."""
    front: list[PricedTrial] = []
    for point in sorted(points, key=lambda p: (p.macs, rank(metric, p.reached), p.number)):
        if not front or rank(metric, point.reached) < rank(metric, front[-1].reached):
            front.append(point)
    return front


def pareto_picture(points: Sequence[PricedTrial], metric: Metric) -> Figure:
    """All priced trials; the front is joined, and each of its trials has its number on the side where none can be."""
    front = pareto_front(points, metric)
    with plots.styled():
        figure = Figure(figsize=(6.6, 4.4), layout="constrained")
        axis = figure.subplots()
        beaten = [point for point in points if point not in front]
        axis.plot([p.macs for p in beaten], [p.reached for p in beaten], "o", ms=4.5, color="#888888", alpha=0.7,
                  label="another is cheaper and better")  # fmt: skip
        axis.plot([p.macs for p in front], [p.reached for p in front], "o-", drawstyle="steps-post", ms=6, lw=1.4,
                  color=plots.PALETTE[0], label="front, with the number of the trial")  # fmt: skip
        below = -1 if not metric.higher_is_better else 1
        for point in front:
            axis.annotate(
                str(point.number), (point.macs, point.reached), (-4, 5 * below), ha="right", fontsize=8.5,
                va="top" if below < 0 else "bottom", **plots.NAMING,
            )  # fmt: skip
        axis.margins(x=0.08, y=0.1)
        axis.set(xlabel=f"MACs per {counted_in(metric)}", ylabel=f"{metric.heading} [{metric.unit}]")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: plots.tick(x)))
        axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        figure.legend(loc="outside lower center", ncols=2)
        return figure

"""What a better result costs: trials by metric and MACs or state, and those that no other beats in both."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from optuna.trial import FrozenTrial, TrialState

from rnnlab.studies.launch.run import finished
from rnnlab.studies.metric import counted_in, rank
from rnnlab.studies.search.database import run_folders
from rnnlab.views import plots
from rnnlab.views.cost_plot import scale_costs
from rnnlab.views.metrics import Metric

COSTS = {"macs_per_byte": "MACs per {}", "state_floats": "State [floats]"}
"""By the key of result.json, what an axis calls it."""


@dataclass(frozen=True)
class PricedTrial:
    """A complete trial with its cost.

    Attributes:
        number: of the trial.
        cost: multiply-accumulates per byte or position, or floats of state.
        reached: in the metric's unit.
    """

    number: int
    cost: float
    reached: float


def with_costs(trials: Sequence[FrozenTrial], parent: Path) -> list[FrozenTrial]:
    """The trials, each with the costs of its run; of a study begun before they were recorded, from the run's folder."""
    return [trial if COSTS.keys() <= trial.user_attrs.keys() else _with_cost(trial, parent) for trial in trials]


def _with_cost(trial: FrozenTrial, parent: Path) -> FrozenTrial:
    result = next((found for folder in run_folders(parent, trial) if (found := finished(folder))), None)
    if result is None:
        return trial
    costed = copy.copy(trial)
    costed.user_attrs = {**trial.user_attrs, **costs_of(result)}
    return costed


def costs_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run, as a trial has them."""
    return {key: result.get(key) for key in COSTS}


def priced(trials: Sequence[FrozenTrial], cost: str = "macs_per_byte") -> list[PricedTrial]:
    """The complete trials whose cost is known."""
    return [
        PricedTrial(t.number, float(found), float(t.value))
        for t in trials
        if t.state is TrialState.COMPLETE and t.value is not None and (found := t.user_attrs.get(cost)) is not None
    ]


def pareto_front(points: Sequence[PricedTrial], metric: Metric) -> list[PricedTrial]:
    """Those that no other equals or beats in both, the cheapest first; of two that are alike the earlier trial."""
    front: list[PricedTrial] = []
    for point in sorted(points, key=lambda p: (p.cost, rank(metric, p.reached), p.number)):
        if not front or rank(metric, point.reached) < rank(metric, front[-1].reached):
            front.append(point)
    return front


def pareto_picture(points: Sequence[PricedTrial], metric: Metric, cost: str = "macs_per_byte") -> Figure:
    """All priced trials; the front is joined, and its trials have their numbers on the side where none can be.

    Of a crowded front those are named for which there is room, its ends before the others.
    """
    front = pareto_front(points, metric)
    with plots.styled():
        figure = Figure(figsize=(6.6, 4.4), layout="constrained")
        axis = figure.subplots()
        beaten = [point for point in points if point not in front]
        axis.plot([p.cost for p in beaten], [p.reached for p in beaten], "o", ms=4.5, color="#888888", alpha=0.7,
                  label="another is no worse in both")  # fmt: skip
        axis.plot([p.cost for p in front], [p.reached for p in front], "o-", drawstyle="steps-post", ms=6, lw=1.4,
                  color=plots.PALETTE[0], label="front, with the number of the trial")  # fmt: skip
        axis.margins(x=0.08, y=0.1)
        axis.set(xlabel=COSTS[cost].format(counted_in(metric)), ylabel=f"{metric.heading} [{metric.unit}]")
        scale_costs(axis, [p.cost for p in points])
        figure.legend(loc="outside lower center", ncols=2)
        _name(figure, axis, front, 1 if metric.higher_is_better else -1)
        return figure


def _name(figure: Figure, axis: Any, front: Sequence[PricedTrial], side: int) -> None:
    """Write the numbers, above the front (1) or below (-1), where they do not cover each other."""
    figure.draw_without_rendering()  # the layout decides where a point is
    renderer = FigureCanvasAgg(figure).get_renderer()
    taken: list[Any] = []
    for point in [front[0], *front[:0:-1]]:
        label = axis.annotate(
            str(point.number), (point.cost, point.reached), (-4, 5 * side), ha="right", fontsize=8.5,
            va="bottom" if side > 0 else "top", in_layout=False, **plots.NAMING,
        )  # fmt: skip
        box = label.get_window_extent(renderer)
        if any(box.overlaps(other) for other in taken):
            label.remove()
        else:
            taken.append(box)

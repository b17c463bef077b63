"""Pictures of a search: history, slices, a contour over two keys, importance, and the curves that pruning looked at."""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.tri import Triangulation
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from rnnlab.studies.metric import counted_in, rank
from rnnlab.studies.search.space import Entry, literal
from rnnlab.views import plots
from rnnlab.views.metrics import Metric
from rnnlab.views.plots import PALETTE, legible

COMPLETE, PRUNED = PALETTE[0], "#888888"


def history(trials: Sequence[FrozenTrial], metric: Metric) -> Figure:
    """What each trial reached, and the best so far.

    One that was pruned early would squeeze all that matters. Those beyond stand in a strip with an axis of its own,
    behind a break; those that are not finite at its far edge.
    """
    complete = [t for t in trials if t.state is TrialState.COMPLETE]
    pruned = [t for t in trials if t.state is TrialState.PRUNED]
    finite = [t for t in pruned if t.value is not None and math.isfinite(t.value)]
    low, high = _what_matters(complete or finite, finite, metric)
    beyond = [t for t in finite if t.value is not None and not low <= t.value <= high]
    lost = [t for t in pruned if t not in finite]
    with plots.styled():
        figure = Figure(figsize=(6.6, 4.0), layout="constrained")
        axis: Any
        strip: Any
        axis, strip = _broken_axis(figure, metric) if beyond or lost else (figure.subplots(), None)
        axis.plot([t.number for t in finite], [t.value for t in finite], "x", color=PRUNED, label="pruned, at its end")
        axis.plot([t.number for t in complete], [t.value for t in complete], "o", color=COMPLETE, label="complete")
        best_of = np.maximum if metric.higher_is_better else np.minimum
        best = best_of.accumulate([float(t.value) for t in complete if t.value is not None])
        axis.step([t.number for t in complete], best, where="post", color=PALETTE[1], lw=1.6, label="best so far")
        for trial in complete:
            if trial.user_attrs.get("baseline"):
                axis.axhline(trial.value, color=PRUNED, lw=1, dashes=(4, 3), zorder=1, label="baseline")
        axis.set_ylim(low, high)
        if strip is not None:
            _draw_beyond(strip, beyond, lost, metric)
        axis.set_ylabel(_label(metric))
        bottom = strip if strip is not None and metric.higher_is_better else axis
        bottom.set_xlabel("Trial")
        axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        _, labels = axis.get_legend_handles_labels()
        strips = [] if strip is None else strip.get_legend_handles_labels()[1]
        figure.legend(loc="outside lower center", ncols=plots.legend_columns([*labels, *strips], 6.6))
        return figure


def _what_matters(shown: Sequence[FrozenTrial], finite: Sequence[FrozenTrial], metric: Metric) -> tuple[float, float]:
    """Limits of an axis with these trials and what is better than they, with some room."""
    values = [t.value for t in shown if t.value is not None]
    if values:
        best = min((t.value for t in [*shown, *finite] if t.value is not None), key=lambda value: rank(metric, value))
        values.append(best)
    low, high = min(values, default=0.0), max(values, default=0.0)
    room = 0.35 * (high - low) or 0.1
    return low - room, high + room


def _broken_axis(figure: Figure, metric: Metric) -> tuple[Any, Any]:
    """(the axis, a strip with the same trials on the side of what is worse)."""
    heights = [3.4, 1.0] if metric.higher_is_better else [1.0, 3.4]
    pair = figure.subplots(2, 1, sharex=True, height_ratios=heights)
    axis, strip = pair if metric.higher_is_better else pair[::-1]
    upper, lower = pair
    upper.spines["bottom"].set_visible(False)
    upper.tick_params(axis="x", length=0)
    slash: dict[str, Any] = {"marker": [(-1, -0.5), (1, 0.5)], "ms": 8, "ls": "none", "color": "#888888", "mew": 1}
    upper.plot(0, 0, transform=upper.transAxes, clip_on=False, **slash)
    lower.plot(0, 1, transform=lower.transAxes, clip_on=False, **slash)
    return axis, strip


def _draw_beyond(strip: Any, beyond: Sequence[FrozenTrial], lost: Sequence[FrozenTrial], metric: Metric) -> None:
    """The trials beyond the break where they are, and at the far edge those without a number."""
    values = [float(t.value) for t in beyond if t.value is not None]
    strip.plot([t.number for t in beyond], values, "x", color=PRUNED)
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.3 * (high - low) or 0.1 * abs(high) or 1.0
    strip.set_ylim(low - room, high + room)
    strip.yaxis.set_major_locator(MaxNLocator(3))
    if not values:
        strip.set_yticks([])
    edge, shape = (0.0, "v") if metric.higher_is_better else (1.0, "^")
    if lost:
        strip.plot([t.number for t in lost], [edge] * len(lost), shape, color=PALETTE[3], clip_on=False, zorder=4,
                   transform=strip.get_xaxis_transform(), label="diverged or refused")  # fmt: skip


def slices(trials: Sequence[FrozenTrial], metric: Metric, entries: Sequence[Entry]) -> Figure:
    """The metric against each key by itself; later trials are darker."""
    complete = [t for t in trials if t.state is TrialState.COMPLETE]
    with plots.styled():
        figure = Figure(figsize=(3.1 * len(entries) + 0.8, 3.4), layout="constrained")
        axes = figure.subplots(1, len(entries), sharey=True, squeeze=False)[0]
        newest = max((t.number for t in complete), default=1) or 1
        for axis, entry in zip(axes, entries, strict=True):
            drawn = [t for t in complete if entry.key in t.params]
            x = _axis(axis.xaxis, entry, [t.params[entry.key] for t in drawn])
            shade = [0.25 + 0.75 * t.number / newest for t in drawn]
            axis.scatter(x, [t.value for t in drawn], s=30, color=COMPLETE, alpha=shade or None, edgecolors="none")
            axis.set_xlabel(legible(entry.key))
        axes[0].set_ylabel(_label(metric))
        return figure


def contour(trials: Sequence[FrozenTrial], metric: Metric, first: Entry, second: Entry) -> Figure:
    """The metric over two keys, interpolated between the complete trials, which are marked; pruned ones are crosses.
    The better, the brighter."""
    with _figure(6.0, 4.6) as (figure, axis):
        both = [t for t in trials if first.key in t.params and second.key in t.params]
        complete = [t for t in both if t.state is TrialState.COMPLETE]
        pruned = [t for t in both if t.state is TrialState.PRUNED]
        ordered = [*complete, *pruned]
        x = _axis(axis.xaxis, first, [t.params[first.key] for t in ordered])
        y = _axis(axis.yaxis, second, [t.params[second.key] for t in ordered])
        n = len(complete)
        values = [float(t.value) for t in complete if t.value is not None]
        if (mesh := _mesh(np.array(x[:n]), np.array(y[:n]), first, second)) is not None:
            colors = "viridis" if metric.higher_is_better else "viridis_r"
            shown = axis.tricontourf(mesh, values, levels=12, cmap=colors, alpha=0.9)
            figure.colorbar(shown, ax=axis, label=_label(metric))
        axis.plot(x[n:], y[n:], "x", color=PRUNED, label="pruned", ls="none")
        axis.plot(x[:n], y[:n], "o", color="black", mfc="white", label="complete", ls="none")
        if values:
            best = int(np.argmin([rank(metric, value) for value in values]))
            axis.plot(x[best], y[best], "*", ms=15, color=PALETTE[1], mec="white", label="best", ls="none")
        axis.set(xlabel=legible(first.key), ylabel=legible(second.key))
        figure.legend(loc="outside lower center", ncols=3)
        return figure


def importance(shares: Mapping[str, float]) -> Figure:
    """How much of the difference between good trials and the rest each key explains."""
    with _figure(6.0, 1.4 + 0.4 * len(shares)) as (figure, axis):
        names = list(shares)[::-1]
        bars = axis.barh(range(len(names)), [shares[name] for name in names], color=COMPLETE, height=0.6)
        axis.bar_label(bars, fmt=" {:.2f}")
        axis.set_yticks(range(len(names)), [legible(name) for name in names])
        axis.set(xlim=(0, 1.12), xlabel="Importance (PED-ANOVA, share)")
        axis.grid(axis="y", visible=False)
        return figure


def intermediate(trials: Sequence[FrozenTrial], metric: Metric) -> Figure:
    """The metric against what was trained on, as reported to the pruner; pruned trials end early."""
    with _figure(6.6, 4.2) as (figure, axis):
        labeled = set()
        for trial in trials:
            points = [(step, y) for step, y in sorted(trial.intermediate_values.items()) if math.isfinite(y)]
            complete = trial.state is TrialState.COMPLETE
            label = "complete" if complete else "pruned"
            axis.plot(
                *zip(*points, strict=True) if points else ([], []),
                color=COMPLETE if complete else PRUNED,
                lw=1.2,
                alpha=0.8,
                marker=None if complete else "x",
                markevery=[-1] if points else None,
                label=None if label in labeled else label,
                zorder=3 if complete else 2,
            )
            labeled.add(label)
        axis.set(xlabel=f"{counted_in(metric).capitalize()}s trained", ylabel=_label(metric))
        axis.xaxis.set_major_formatter(lambda value, _: plots.tick(value))
        axis.xaxis.set_major_locator(MaxNLocator(6))
        if labeled:
            figure.legend(loc="outside lower center", ncols=2)
        return figure


@contextlib.contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, Any]]:
    with plots.styled():
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots()


def _label(metric: Metric) -> str:
    return f"{metric.heading} [{metric.unit}]"


def _axis(axis: Any, entry: Entry, values: Sequence[Any]) -> list[float]:
    """Set up an axis over the whole range of a key, and say where on it the values stand."""
    d = entry.distribution
    if isinstance(d, CategoricalDistribution):
        axis.set_ticks(range(len(d.choices)), [legible(literal(choice), 16) for choice in d.choices])
        return [float(d.choices.index(value)) for value in values]
    low, high = (math.log(d.low), math.log(d.high)) if d.log else (float(d.low), float(d.high))
    if d.log:
        ticks = [low + (high - low) * i / 4 for i in range(5)]
        numbers = [math.exp(tick) for tick in ticks]
        axis.set_ticks(
            ticks, [plots.tick(round(number) if isinstance(d, IntDistribution) else number) for number in numbers]
        )
    room = 0.04 * (high - low) or 0.5
    axis.axes.set(**{f"{axis.axis_name}lim": (low - room, high + room)})
    return [math.log(value) if d.log else float(value) for value in values]


def _mesh(x: Any, y: Any, first: Entry, second: Entry) -> Any:
    """Triangles between the points; None where they span no area or a key has no order."""
    if first.is_categorical or second.is_categorical or len(x) < 3:
        return None
    scaled = np.stack([(values - values.min()) / (np.ptp(values) or 1.0) for values in (x, y)])
    if np.linalg.matrix_rank(scaled - scaled[:, :1], tol=1e-6) < 2:
        return None
    return Triangulation(x, y, Triangulation(*scaled).triangles)

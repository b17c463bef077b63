"""The table and the picture of a ladder of sizes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation

from rnnlab.errors import ConfigError
from rnnlab.studies.ablation.ladder import Extrapolation, Growth, Ladder, NoLaw, extrapolate, growth
from rnnlab.views import metrics, numerals, tables
from rnnlab.views.intervals import mean_interval
from rnnlab.views.plots import DASHED, legend_columns, legible, marker, stroke, styled, tick

SIZE = "parameters"
Found = Mapping[str, Extrapolation | NoLaw]
"""By variant, what the laws of the smaller sizes say about the largest, as it may have been said before it was run."""

OFFSET = 3.0  # [points] between the intervals of two variants at one size


def ladder_table(
    ladders: Mapping[str, Ladder],
    baseline: str,
    metric: str = "valid_bpc",
    sized_by: str = SIZE,
    found: Found | None = None,
    caveats: Sequence[str] = (),
) -> tables.Table:
    """A row a variant: the law of its smaller sizes, how it foretells the largest, and how its effect grows.

    Args:
        ladders: by variant, the baseline among them.
        metric: what was measured: see `rnnlab.views.metrics`; lower is better.
        sized_by: what the sizes count.
        found: predictions that were made before; None to make them of these ladders, whose largest size is held out.
        caveats: notes on how the study was run.
    Raises: ConfigError if there is no such metric or baseline, or if more of the metric is better.
    """
    compared = _metric(ladders, baseline, metric)
    found = {name: extrapolate(ladder) for name, ladder in ladders.items()} if found is None else found
    grown = {name: growth(ladders[baseline], ladder) for name, ladder in ladders.items() if name != baseline}
    digits = compared.digits
    columns = [
        tables.Column("variant", "Variant"),
        tables.Column("sizes", "Sizes", "number"),
        tables.Column("law", f"{compared.word} of N {sized_by}"),
        tables.Column("exponent", "Exponent", "interval", numerals.plus_minus(digits)),
        tables.Column("largest", "Largest N", "number", numerals.engineering),
        tables.Column("predicted", "Predicted", "interval", numerals.plus_minus(digits)),
        tables.Column("measured", "Measured", "number", numerals.decimal(digits)),
        tables.Column("miss", "Miss", "number", lambda miss: f"{miss:+.{digits}f}"),
        tables.Column(
            "growth", f"Δ {compared.word} per doubling", "interval", numerals.plus_minus(digits, signed=True)
        ),
    ]
    rows = [_row(name, ladder, found[name], grown.get(name)) for name, ladder in ladders.items()]
    notes = [
        "The law is fitted to all sizes but the largest. Predicted: with the 95% interval of the mean over its seeds.",
        f"Δ {compared.word} per doubling: slope of the difference to {baseline} against log2 N, paired by seed, with "
        "its 95% interval over seeds; where it holds zero, the effect is not seen to grow.",
    ]
    outside = [
        name
        for name, one in found.items()
        if isinstance(one, Extrapolation) and one.miss is not None and not one.is_within
    ]
    if outside:
        notes.append(
            f"The measured value lies outside of the interval for {', '.join(outside)}: the law does not hold."
        )
    for outcomes, what in ((found, "law"), (grown, "growth")):
        reasons = {name: one.reason for name, one in outcomes.items() if isinstance(one, NoLaw)}
        notes += [f"No {what} for {name}: {reason}." for name, reason in reasons.items()]
    title = f"{compared.heading} against {sized_by}, the largest size held out"
    return tables.Table(title, columns, rows, [*notes, *caveats])


def _metric(ladders: Mapping[str, Ladder], baseline: str, key: str) -> metrics.Metric:
    metric = metrics.metric(key)
    if baseline not in ladders:
        raise ConfigError(f"no variant {baseline!r} to compare with; there are {', '.join(map(repr, ladders))}")
    if metric.higher_is_better:
        raise ConfigError(f"a ladder of {metric.title}: a power law falls with size; take valid_bpc or valid_nats")
    return metric


def _row(
    name: str, ladder: Ladder, found: Extrapolation | NoLaw, grown: Growth | NoLaw | None
) -> dict[str, tables.Cell]:
    row: dict[str, tables.Cell] = {"variant": name, "sizes": len(ladder)}
    if isinstance(found, Extrapolation):
        row |= {
            "law": str(found.law), "exponent": found.exponent, "largest": found.size, "predicted": found.predicted,
            "measured": found.measured, "miss": found.miss,
        }  # fmt: skip
    if isinstance(grown, Growth):
        row["growth"] = grown.per_doubling
    return row


@styled()
def ladder_plot(
    ladders: Mapping[str, Ladder],
    baseline: str,
    metric: str = "valid_bpc",
    sized_by: str = SIZE,
    found: Found | None = None,
) -> Figure:
    """The metric against size with the laws, dashed where they foretell; beside it the differences to the baseline.

    Args, Raises: as `ladder_table`.
    """
    compared = _metric(ladders, baseline, metric)
    found = {name: extrapolate(ladder) for name, ladder in ladders.items()} if found is None else found
    labels = [f" {legible(name)}" for name in ladders]
    columns = legend_columns(labels, 9.6)
    figure = Figure(figsize=(9.6, 4.3 + 0.22 * -(-len(labels) // columns)), layout="constrained")
    laws, differences = figure.subplots(1, 2)
    sizes = [size for ladder in ladders.values() for size in ladder]
    sizes += [one.size for one in found.values() if isinstance(one, Extrapolation)]
    for axis in (laws, differences):
        axis.set(xscale="log", xlim=(min(sizes) / 1.4, max(sizes) * 1.4), xlabel=sized_by.capitalize())
    for number, (name, ladder) in enumerate(ladders.items()):
        _draw_law(laws, ladder, found[name], max(sizes), number, len(ladders))
        grown = growth(ladders[baseline], ladder) if name != baseline else None
        if isinstance(grown, Growth):
            _draw_growth(differences, grown, number, len(ladders))
    differences.axhline(0.0, **DASHED)
    for axis in (laws, differences):
        axis.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 3.0), numticks=12))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: tick(x)))
        axis.xaxis.set_minor_formatter(NullFormatter())
    laws.set(ylabel=f"{compared.heading} [{compared.unit}]", title="Laws of the smaller sizes, and the largest (open)")
    differences.set(ylabel=f"Δ {compared.word} to {legible(baseline)}, 95% interval", title="Does the effect grow?")
    handles = [Line2D([], [], lw=2, marker=marker(i), markersize=4, **stroke(i)) for i in range(len(labels))]
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure


def _draw_law(axis: Any, ladder: Ladder, found: Extrapolation | NoLaw, largest: float, number: int, count: int) -> None:
    style: dict[str, Any] = {"marker": marker(number), "markersize": 5, "ls": "none", "color": stroke(number)["color"]}
    sizes = [size for size in sorted(ladder) if ladder[size] and np.isfinite(list(ladder[size].values())).all()]
    apart = axis.transData + _apart(axis, number, count)
    for size in sizes:
        hollow: dict[str, Any] = {"mfc": "white", "zorder": 4, "transform": apart} if size == largest else {}
        axis.plot(size, mean_interval(list(ladder[size].values())).mean, **style, **hollow)
    fitted = [size for size in sizes if size < largest]
    if isinstance(found, NoLaw) or not fitted:
        return
    through, beyond = np.geomspace(fitted[0], fitted[-1]), np.geomspace(fitted[-1], found.size)
    axis.plot(through, [found.law(size) for size in through], lw=1.6, color=style["color"])
    axis.plot(beyond, [found.law(size) for size in beyond], lw=1.2, color=style["color"], dashes=(3, 2))
    interval: dict[str, Any] = {"color": style["color"], "capsize": 3, "lw": 1.2, "zorder": 3, "transform": apart}
    axis.errorbar(found.size, found.predicted.mean, yerr=found.predicted.half_width, **interval)
    ends = [end for end in (found.predicted.low, found.measured, found.predicted.high) if end is not None]
    axis.update_datalim([(found.size, end) for end in ends])
    axis.autoscale_view(scalex=False)  # what is moved apart does not count for the axis by itself


def _apart(axis: Any, number: int, count: int) -> ScaledTranslation:
    """Variants are moved apart by points of the picture: intervals on top of each other could not be told apart."""
    return ScaledTranslation(OFFSET * (number - (count - 1) / 2) / 72, 0, axis.figure.dpi_scale_trans)


def _draw_growth(axis: Any, grown: Growth, number: int, count: int) -> None:
    means = [one.mean for one in grown.differences.values()]
    halves = [one.half_width or 0.0 for one in grown.differences.values()]
    style: dict[str, Any] = {"marker": marker(number), "markersize": 5, "capsize": 2, "lw": 1.4, **stroke(number)}
    axis.errorbar(
        list(grown.differences), means, halves, **style, transform=axis.transData + _apart(axis, number, count)
    )
    ends = [mean + side * half for mean, half in zip(means, halves, strict=True) for side in (-1.0, 1.0)]
    axis.update_datalim([(size, 0.0) for size in grown.differences] + [(1.0, end) for end in ends], updatex=False)
    axis.autoscale_view(scalex=False)  # what is moved apart does not count for the axis by itself

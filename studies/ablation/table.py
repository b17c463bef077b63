"""The table and the plot of an ablation, for reading and for a paper."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from rnnlab.errors import ConfigError
from rnnlab.studies.ablation import floor
from rnnlab.studies.ablation.floor import MetricFloor
from rnnlab.studies.ablation.looks import at_look
from rnnlab.studies.ablation.scored import scored_note
from rnnlab.studies.ablation.sizes import named, plain
from rnnlab.studies.ablation.statistics import (
    MIN_SEEDS,
    PairedDifference,
    VariantStatistics,
    analyze,
    corrected,
    least_p_flip,
)
from rnnlab.studies.metric import counted_in, score
from rnnlab.views import metrics, numerals, plots, tables
from rnnlab.views.cost_plot import CostPoint, reached_against_cost
from rnnlab.views.metrics import Metric
from rnnlab.views.naming import in_a_row

COSTS = ("parameters", "macs_per_byte", "state_floats", "bytes_per_second", "peak_memory_mb")


@dataclass(frozen=True)
class TrainedVariant:
    """One variant of an ablation with the results of its seeds.

    Attributes:
        name: what the study calls it.
        results: `result.json` by seed.
        bindings: what differs from the baseline, as `key = value`; empty for the baseline.
        tuned: the setting that tuning chose for it, as `key = value`.
        size: of a study of several sizes, the one that it has; it is compared with the baseline of this size.
    """

    name: str
    results: Mapping[int, Mapping[str, Any]]
    bindings: tuple[str, ...] = ()
    tuned: tuple[str, ...] = ()
    size: str = ""

    def scores(self, metric: str) -> dict[int, float]:
        """The metric by seed; NaN where training diverged."""
        return {seed: score(result, metric) for seed, result in self.results.items()}

    def floor(self, metric: Metric) -> MetricFloor | None:
        """What it would reach if it had learned nothing; None where that is not known."""
        return floor.floor_of(list(self.results.values()), metric)

    def mean(self, key: str) -> float | None:
        """Mean of another figure over the seeds, exact where they agree; None if no seed has it."""
        values = [result[key] for result in self.results.values() if isinstance(result.get(key), int | float)]
        return (values[0] if len(set(values)) == 1 else math.fsum(values) / len(values)) if values else None


def ablation_table(
    variants: Sequence[TrainedVariant],
    baseline: str,
    metric: str = "valid_bpc",
    title: str = "",
    caveats: Sequence[str] = (),
    level: float | None = None,
) -> tables.Table:
    """The ablation table: a row a variant, in the order given.

    Args:
        variants: the baseline among them.
        baseline: name of the variant that the others are compared with.
        metric: which figure of `result.json` is compared: see `rnnlab.views.metrics`.
        title: stands over the table; by default it names the baseline.
        caveats: notes on how the study was run.
        level: of the look at which a study with several looks ended; see `rnnlab.studies.ablation.looks`.
    Raises: ConfigError if the metric or the baseline is unknown, or two variants share a name.
    """
    statistics, compared = analyze_variants(variants, baseline, metric), metrics.metric(metric)
    if level is not None:
        statistics = at_look(statistics, level)
    return tables.Table(
        title=title or f"Ablation against {baseline}: {compared.title}",
        columns=_columns(compared, is_look=level is not None),
        rows=[_row(variant, statistics[variant.name], compared) for variant in variants],
        notes=_notes(variants, statistics, baseline, compared, caveats),
    )


def cost_plot(
    variants: Sequence[TrainedVariant], baseline: str, metric: str = "valid_bpc", cost: str = "macs_per_byte"
) -> Figure:
    """The metric against MACs or, with "state_floats", against the state; with intervals.

    Variants without a finite mean or a cost are left out.
    Raises: as `ablation_table`.
    """
    statistics, compared = analyze_variants(variants, baseline, metric), metrics.metric(metric)
    points = []
    for variant in variants:
        mean, price = statistics[variant.name].mean, variant.mean(cost)
        if mean is not None and price is not None:
            points.append(CostPoint(variant.name, price, mean, variant.name == baseline))
    y_label = f"{compared.heading} [{compared.unit}]"
    level = floor.level([variant.floor(compared) for variant in variants], compared)
    x_label = "State [floats]" if cost == "state_floats" else f"MACs per {counted_in(compared)}"
    return reached_against_cost(points, x_label, y_label, level, (0.0, 1.0) if compared.word == "accuracy" else None)


def write_table_and_plot(
    variants: Sequence[TrainedVariant],
    baseline: str,
    folder: Path,
    metric: str = "valid_bpc",
    stem: str = "ablation",
    title: str = "",
    caveats: Sequence[str] = (),
    level: float | None = None,
) -> tuple[tables.Table, list[Path]]:
    """Write `folder/stem.{txt,md,csv,tex,json}` and the plot `folder/stem.{png,svg}`: (the table, their paths).

    Raises: as `ablation_table`; StorageError if the folder cannot be written.
    """
    table = ablation_table(variants, baseline, metric, title, caveats, level)
    drawn = plots.drawn(lambda: cost_plot(variants, baseline, metric), folder, stem)
    return table, tables.write(table, folder, stem) + drawn


def analyze_variants(variants: Sequence[TrainedVariant], baseline: str, metric: str) -> dict[str, VariantStatistics]:
    """Raises: as `ablation_table`."""
    metrics.metric(metric)  # that there is one of this name
    names = [variant.name for variant in variants]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"two variants are called {twice[0]!r}; rename one of them")
    found: dict[str, VariantStatistics] = {}
    for size in dict.fromkeys(variant.size for variant in variants):
        scores = {variant.name: variant.scores(metric) for variant in variants if variant.size == size}
        found |= analyze(scores, named(baseline, size))
    return corrected(found)


def _columns(metric: Metric, is_look: bool) -> list[tables.Column]:
    unit = counted_in(metric)
    return [
        tables.Column("size", "Size"),
        tables.Column("variant", "Variant", marked_by=floor.AT_FLOOR),
        tables.Column("seeds", "Seeds", "number"),
        tables.Column(metric.key, metric.heading, "interval", numerals.plus_minus(metric.digits)),
        *floor.columns(metric),
        tables.Column("difference", f"Δ {metric.word}", "interval", numerals.plus_minus(metric.digits, signed=True)),
        tables.Column("p", "p", "number", numerals.probability, marked_by=floor.AT_FLOOR),
        tables.Column("p_holm", "p (Holm)", "number", numerals.probability, marked_by=floor.AT_FLOOR),
        tables.Column("p_flip", "p (flip)", "number", numerals.probability, marked_by=floor.AT_FLOOR),
        tables.Column(
            "p_flip_holm", "p (flip, Holm)", "number", numerals.probability, marked_by=floor.AT_FLOOR, is_shown=is_look
        ),
        tables.Column("parameters", "Parameters", "number", numerals.engineering),
        tables.Column("bytes_trained", f"{unit.capitalize()}s", "number", numerals.engineering),
        tables.Column("macs_per_byte", f"MACs/{unit}", "number", numerals.engineering),
        tables.Column("state_floats", "State", "number", numerals.engineering, unit="floats"),
        tables.Column("bytes_per_second", f"{unit.capitalize()}s/s", "number", numerals.engineering),
        tables.Column("peak_memory_mb", "Peak memory", "number", numerals.grouped, unit="MB"),
        tables.Column("tuned", "Tuned"),
        tables.Column("bindings", "Differs from the baseline", "code"),
        *floor.marks(metric),
    ]


def _row(variant: TrainedVariant, statistics: VariantStatistics, metric: Metric) -> dict[str, tables.Cell]:
    difference = statistics.difference or PairedDifference(None)
    return {
        "size": variant.size or None,
        "variant": plain(variant.name, variant.size),
        "seeds": len(statistics.seeds),
        metric.key: statistics.mean,
        **floor.cells(variant.floor(metric), statistics.mean, metric),
        "difference": difference.interval,
        "p": difference.p,
        "p_holm": difference.p_holm,
        "p_flip": difference.p_flip,
        "p_flip_holm": difference.p_flip_holm,
        **{key: variant.mean(key) for key in COSTS},
        "bytes_trained": variant.mean("bytes_trained") if variant.size else None,  # elsewhere it is the same throughout
        "tuned": "; ".join(variant.tuned) or None,
        "bindings": variant.bindings,
    }


def _notes(
    variants: Sequence[TrainedVariant],
    statistics: Mapping[str, VariantStatistics],
    baseline: str,
    metric: Metric,
    caveats: Sequence[str],
) -> list[str]:
    """What a reader must know of the columns that are there."""
    differences = [one.difference for one in statistics.values() if one.difference is not None]
    intervals = [one.mean for one in statistics.values()] + [one.interval for one in differences]
    notes = []
    if any(interval is not None and interval.half_width is not None for interval in intervals):
        notes.append("± is half the 95% confidence interval (Student t) over seeds.")
    if any(difference.interval is not None for difference in differences):
        better = "above" if metric.higher_is_better else "below"
        whose = f"{baseline} of the same size" if any(variant.size for variant in variants) else baseline
        notes.append(
            f"Δ {metric.word}: mean difference to {whose}, paired by seed; {better} zero is better than {baseline}."
        )
    if tested := sum(difference.p is not None for difference in differences):
        comparisons = "1 comparison" if tested == 1 else f"{tested} comparisons"
        notes.append(f"p: paired t-test, two-sided; p (Holm): corrected for {comparisons}.")
        notes.append(_flip_note(statistics))
    reasons: dict[str, list[str]] = {}
    for name, one in statistics.items():
        if one.difference is not None and one.difference.no_p:
            reasons.setdefault(f"No p-value for NAMES: {one.difference.no_p}.", []).append(name)
        if one.difference is not None and one.difference.note:
            reasons.setdefault(f"Δ {metric.word} of NAMES is {one.difference.note}.", []).append(name)
    notes += [reason.replace("NAMES", in_a_row(names)) for reason, names in reasons.items()]
    if one_seed := [name for name, one in statistics.items() if len(one.seeds) == 1]:
        notes.append(f"One seed has no interval: {in_a_row(one_seed)}; run at least {MIN_SEEDS}.")
    floors = {variant.name: variant.floor(metric) for variant in variants}
    notes += floor.notes(floors, {name: one.mean for name, one in statistics.items()}, metric)
    scored = scored_note([result for variant in variants for result in variant.results.values()], metric)
    return [*notes, *caveats, *([scored] if scored else [])]


def _flip_note(statistics: Mapping[str, VariantStatistics]) -> str:
    """What the sign-flip test is, and the least p that the seeds of this table allow it."""
    tested = [s.difference for s in statistics.values() if s.difference is not None and s.difference.p_flip is not None]
    counts = sorted({difference.interval.count for difference in tested if difference.interval is not None})
    least = ", ".join(f"{least_p_flip(count):.3g} with {count} seeds" for count in counts)
    return f"p (flip): sign-flip test, two-sided, whatever the distribution; it cannot be below {least}."

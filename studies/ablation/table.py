"""The table and the plot of an ablation, for reading and for a paper."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from rnnlab.errors import ConfigError
from rnnlab.studies.ablation.looks import at_look
from rnnlab.studies.ablation.scored import chance, scored_note
from rnnlab.studies.ablation.statistics import MIN_SEEDS, PairedDifference, VariantStatistics, analyze
from rnnlab.studies.metric import counted_in, score
from rnnlab.views import metrics, numerals, plots, tables
from rnnlab.views.metrics import Metric


@dataclass(frozen=True)
class TrainedVariant:
    """One variant of an ablation with the results of its seeds.

    Attributes:
        name: what the study calls it.
        results: `result.json` by seed.
        bindings: what differs from the baseline, as `key = value`; empty for the baseline.
        tuned: the setting that tuning chose for it, as `key = value`.
    """

    name: str
    results: Mapping[int, Mapping[str, Any]]
    bindings: tuple[str, ...] = ()
    tuned: tuple[str, ...] = ()

    def scores(self, metric: str) -> dict[int, float]:
        """The metric by seed; NaN where training diverged."""
        return {seed: score(result, metric) for seed, result in self.results.items()}

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
    statistics, compared = _analyze(variants, baseline, metric), metrics.metric(metric)
    if level is not None:
        statistics = at_look(statistics, level)
    return tables.Table(
        title=title or f"Ablation against {baseline}: {compared.title}",
        columns=_columns(compared),
        rows=[_row(variant, statistics[variant.name], metric) for variant in variants],
        notes=_notes(variants, statistics, baseline, compared, caveats),
    )


def cost_plot(variants: Sequence[TrainedVariant], baseline: str, metric: str = "valid_bpc") -> Figure:
    """The metric against MACs, with intervals; variants without a finite mean or a cost are left out.

    Raises: as `ablation_table`.
    """
    statistics, compared = _analyze(variants, baseline, metric), metrics.metric(metric)
    points = []
    for variant in variants:
        mean, price = statistics[variant.name].mean, variant.mean("macs_per_byte")
        if mean is not None and price is not None:
            points.append(plots.CostPoint(variant.name, price, mean, variant.name == baseline))
    figure = plots.bpc_against_cost(points, f"MACs per {counted_in(compared)}", compared.title)
    figure.axes[0].set_ylabel(f"{compared.heading} [{compared.unit}], mean and 95% interval")
    return figure


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


def _analyze(variants: Sequence[TrainedVariant], baseline: str, metric: str) -> dict[str, VariantStatistics]:
    metrics.metric(metric)  # that there is one of this name
    names = [variant.name for variant in variants]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"two variants are called {twice[0]!r}; rename one of them")
    return analyze({variant.name: variant.scores(metric) for variant in variants}, baseline)


def _columns(metric: Metric) -> list[tables.Column]:
    unit = counted_in(metric)
    return [
        tables.Column("variant", "Variant"),
        tables.Column("seeds", "Seeds", "number"),
        tables.Column(metric.key, metric.heading, "interval", numerals.plus_minus(metric.digits)),
        *([tables.Column("chance", "Chance", "number", numerals.decimal(metric.digits))] * (metric.word == "accuracy")),
        tables.Column("difference", f"Δ {metric.word}", "interval", numerals.plus_minus(metric.digits, signed=True)),
        tables.Column("p", "p", "number", numerals.probability),
        tables.Column("p_holm", "p (Holm)", "number", numerals.probability),
        tables.Column("parameters", "Parameters", "number", numerals.engineering),
        tables.Column("macs_per_byte", f"MACs/{unit}", "number", numerals.engineering),
        tables.Column("bytes_per_second", f"{unit.capitalize()}s/s", "number", numerals.engineering),
        tables.Column("peak_memory_mb", "Peak memory", "number", numerals.grouped, unit="MB"),
        tables.Column("tuned", "Tuned"),
        tables.Column("bindings", "Differs from the baseline", "code"),
    ]


def _row(variant: TrainedVariant, statistics: VariantStatistics, metric: str) -> dict[str, tables.Cell]:
    difference = statistics.difference or PairedDifference(None)
    return {
        "variant": variant.name,
        "seeds": len(statistics.seeds),
        metric: statistics.mean,
        "chance": chance(list(variant.results.values()), metric),
        "difference": difference.interval,
        "p": difference.p,
        "p_holm": difference.p_holm,
        **{key: variant.mean(key) for key in ("parameters", "macs_per_byte", "bytes_per_second", "peak_memory_mb")},
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
    tested = sum(s.difference is not None and s.difference.p is not None for s in statistics.values())
    notes = ["± is half the 95% confidence interval (Student t) over seeds."]
    if len(variants) > 1:
        better = "above" if metric.higher_is_better else "below"
        notes.append(
            f"Δ {metric.word}: mean difference to {baseline}, paired by seed; {better} zero is better than {baseline}."
        )
    if tested:
        comparisons = "1 comparison" if tested == 1 else f"{tested} comparisons"
        notes.append(f"p: paired t-test, two-sided; p (Holm): corrected for {comparisons}.")
    reasons: dict[str, list[str]] = {}
    for name, one in statistics.items():
        if one.difference is not None and one.difference.no_p:
            reasons.setdefault(one.difference.no_p, []).append(name)
    notes += [f"No p-value for {', '.join(names)}: {reason}." for reason, names in reasons.items()]
    if one_seed := [name for name, one in statistics.items() if len(one.seeds) == 1]:
        notes.append(f"One seed has no interval: {', '.join(one_seed)}; run at least {MIN_SEEDS}.")
    scored = scored_note([result for variant in variants for result in variant.results.values()], metric)
    return [*notes, *caveats, *([scored] if scored else [])]

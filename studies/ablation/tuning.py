"""Equal tuning: every variant, the baseline too, gets its own best setting of one small grid before they are compared.

A comparison at one setting favors the variants that it suits. Settings are chosen on valid alone, and with seeds that
are not compared: what looked best by luck has to show it again.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rnnlab.config import Config, diff
from rnnlab.errors import ConfigError
from rnnlab.studies import definition
from rnnlab.studies.ablation.cells import PlannedVariant, Setting, setting_text
from rnnlab.studies.ablation.matching import FACTS, UNITS, Cost, costs
from rnnlab.studies.ablation.study import MOST_CELLS, Ablation
from rnnlab.studies.ablation.variants import build
from rnnlab.studies.budget import refuse_another_comparison, refuse_unequal_steps, shorter
from rnnlab.studies.metric import rank, score
from rnnlab.views.metrics import METRICS, Metric

SEEDS_APART = 10 * MOST_CELLS
"""How far the seeds of tuning lie above those that are compared: a study may never have as many."""

BY: Mapping[str, tuple[str, ...]] = {
    "BPC": ("valid_bpc",),
    "accuracy": ("valid_accuracy", "valid_nats"),  # many settings reach 1.000
    "nats": ("valid_nats",),
}
"""What a setting is chosen by, by the word of the study's metric; what stands behind breaks ties."""


def settings(tune: Mapping[str, Sequence[Any]]) -> Iterator[Setting]:
    """Every combination of the grid; the last key varies fastest."""
    for values in itertools.product(*tune.values()):
        yield tuple(zip(tune, values, strict=True))


def tuning_seeds(first: int, count: int) -> list[int]:
    """Seeds of tuning where the first that is compared is `first`; none of them is ever compared."""
    return [first + SEEDS_APART + i for i in range(count)]


def candidates(ablation: Ablation, variants: Sequence[PlannedVariant]) -> dict[str, list[PlannedVariant]]:
    """By the name of a variant, the variant at every setting of the grid, with the budget of a run of tuning.

    It is empty if the study does not tune.

    Args:
        variants: the baseline first; those at equal costs among them.
    Raises: ConfigError naming the variant and the key, for a key that a variant does not have or that a delta varies.
    """
    if not ablation.tune:
        return {}
    tuned = {}
    for variant in variants:
        _refuse_unknown_keys(variant, ablation.tune)
        tuned[variant.name] = [at(variant, setting) for setting in settings(ablation.tune)]
    baseline = variants[0]
    for variant in variants:
        _refuse_varied_keys(baseline.config, variant, tuned[variant.name], ablation.tune)
        for candidate in tuned[variant.name]:
            _check(candidate, baseline.config, variant.config, ablation.match)
    return {name: [_shortened(one, ablation.tune_fraction) for one in found] for name, found in tuned.items()}


def best(found: Sequence[tuple[PlannedVariant, Sequence[Mapping[str, Any]]]], metric: Metric) -> PlannedVariant:
    """The candidate whose mean over the seeds of tuning is best; the first of those that are equally good.

    Args:
        found: candidates with the results of their seeds. One that diverged is worse than any that did not.
        metric: of the study; see `BY`.
    """
    keys = [METRICS[key] for key in BY[metric.word]]
    return min(found, key=lambda one: tuple(_rank(one[1], key) for key in keys))[0]


def edges(variant: PlannedVariant, tune: Mapping[str, Sequence[Any]]) -> list[str]:
    """Where the chosen setting lies at an end of the grid: "AdamW.lr = 0.01, the largest"; of numbers only."""
    found = []
    for key, value in variant.setting:
        if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in tune[key]):
            continue
        if value in (min(tune[key]), max(tune[key])):
            end = "smallest" if value == min(tune[key]) else "largest"
            found.append(f"{setting_text(key, value)}, the {end}")
    return found


def _rank(results: Sequence[Mapping[str, Any]], metric: Metric) -> float:
    values = [score(result, metric.key) for result in results]
    return rank(metric, math.fsum(values) / len(values)) if all(map(math.isfinite, values)) else math.inf


def at(variant: PlannedVariant, setting: Setting) -> PlannedVariant:
    """The variant with a setting that tuning may give it. Raises: ConfigError naming the variant."""
    with definition.config_errors(f"variant {variant.name!r}: Ablation.tune"):
        resolved = variant.config.override([setting_text(key, value) for key, value in setting])
    return replace(variant, config=resolved, setting=setting)


def _shortened(candidate: PlannedVariant, fraction: float) -> PlannedVariant:
    if fraction == 1:
        return candidate
    return replace(candidate, config=candidate.config.override(shorter(candidate.config, fraction)))


def _refuse_unknown_keys(variant: PlannedVariant, tune: Mapping[str, Sequence[Any]]) -> None:
    for key, values in tune.items():
        try:
            variant.config.override([setting_text(key, values[0])])
        except ConfigError as error:
            raise ConfigError(
                f"variant {variant.name!r}: Ablation.tune[{key!r}]: {error}; tune what every variant has, or leave "
                f"this variant out"
            ) from error


def _refuse_varied_keys(
    baseline: Config,
    variant: PlannedVariant,
    tuned: Sequence[PlannedVariant],
    tune: Mapping[str, Sequence[Any]],
) -> None:
    """What a delta varies cannot be tuned: the variant would lose what makes it one."""
    varied = {difference.key for difference in diff(baseline, variant.config)}
    changed = {difference.key for one in tuned for difference in diff(variant.config, one.config)}
    if both := sorted(varied & changed):
        raise ConfigError(
            f"variant {variant.name!r}: Ablation.tune ({', '.join(tune)}) tunes {both[0]}, which its delta varies; "
            f"take it out of one of them"
        )


def _check(candidate: PlannedVariant, baseline: Config, untuned: Config, match: Cost | None) -> None:
    """Raises: ConfigError for a setting that cannot be built, reads or scores something else, or has another cost."""
    what = f"{candidate.name} at {'; '.join(candidate.shown_setting)}"
    build(what, candidate.config)
    with definition.config_errors(f"variant {what!r}: Ablation.tune"):
        refuse_another_comparison(untuned, candidate.config)
    refuse_unequal_steps(what, baseline, candidate.config)
    if match is None:
        return
    before, after = costs(untuned)[FACTS[match]], costs(candidate.config)[FACTS[match]]
    if before != after:
        raise ConfigError(
            f"variant {what!r} has {after:,} {UNITS[match]} and not {before:,}: with Ablation.match tune what "
            f"changes no cost"
        )

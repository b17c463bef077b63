"""What paired seeds say about variants: means, differences to a baseline, and p-values.

Source: Student 1908 for the interval and the paired test; Holm 1979 for the correction. scipy computes the test.

Every variant is trained with the same seeds, so that the difference to the baseline is taken seed by seed and what the
seeds share (data order, initialization) drops out. With fewer than three seeds there is no p-value, and a reason
in its place: two differences can lie close together by chance, and a test on one degree of freedom cannot tell.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from rnnlab.errors import ConfigError
from rnnlab.views.intervals import Interval, mean_interval

MIN_SEEDS = 3


@dataclass(frozen=True)
class PairedDifference:
    """A variant against the baseline, paired by seed.

    Attributes:
        interval: mean of variant - baseline with its 95% interval, in the metric's unit; None if it cannot be paired.
        p: two-sided paired t-test [probability]; None if there is none.
        p_holm: the same, corrected for the number of comparisons [probability].
        no_p: why there is no p-value; empty if there is one.
    """

    interval: Interval | None
    p: float | None = None
    p_holm: float | None = None
    no_p: str = ""


@dataclass(frozen=True)
class VariantStatistics:
    """What the seeds of one variant say.

    Attributes:
        seeds: the seeds it was trained with, ascending.
        mean: over those seeds with its 95% interval, in the metric's unit; None if one of them is not finite.
        difference: to the baseline; None for the baseline itself.
    """

    seeds: tuple[int, ...]
    mean: Interval | None
    difference: PairedDifference | None


def analyze(results: Mapping[str, Mapping[int, float]], baseline: str) -> dict[str, VariantStatistics]:
    """Statistics of every variant, in the order given.

    Args:
        results: the metric by variant and seed; not finite where training diverged.
        baseline: the variant that the others are compared with.
    Raises: ConfigError if there is no such variant, or a variant without a seed.
    """
    if baseline not in results:
        raise ConfigError(f"no variant {baseline!r} to compare with; there are {', '.join(map(repr, results))}")
    if empty := [name for name, by_seed in results.items() if not by_seed]:
        raise ConfigError(f"variant {empty[0]!r} has no finished seed; train it or leave it out")
    differences = {
        name: paired_difference(results[baseline], seeds) for name, seeds in results.items() if name != baseline
    }
    corrected = holm({name: d.p for name, d in differences.items() if d.p is not None})
    return {
        name: VariantStatistics(
            seeds=tuple(sorted(by_seed)),
            mean=mean_interval(list(by_seed.values())) if _finite(by_seed) else None,
            difference=None if name == baseline else replace(differences[name], p_holm=corrected.get(name)),
        )
        for name, by_seed in results.items()
    }


def paired_difference(baseline: Mapping[int, float], variant: Mapping[int, float]) -> PairedDifference:
    """variant - baseline over their seeds, with an interval from two seeds on and a p-value from three.

    Where they cannot be paired there is a reason and no error: a study that is not finished still has a table.
    """
    if set(baseline) != set(variant):
        return PairedDifference(
            None, no_p=f"its seeds ({_listed(variant)}) are not the baseline's ({_listed(baseline)})"
        )
    if not _finite(variant):
        diverged = [seed for seed in variant if not math.isfinite(variant[seed])]
        return PairedDifference(None, no_p=f"seed {_listed(diverged)} diverged")
    if not _finite(baseline):
        return PairedDifference(None, no_p="the baseline diverged")
    seeds = sorted(baseline)
    before, after = [baseline[seed] for seed in seeds], [variant[seed] for seed in seeds]
    differences = np.subtract(after, before)
    interval = mean_interval(differences.tolist())
    if len(seeds) < MIN_SEEDS:
        count = "1 seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
        return PairedDifference(interval, no_p=f"{count}, and a paired t-test needs at least {MIN_SEEDS}")
    if np.ptp(differences) <= 1e-12 * max(map(abs, before)):  # rounding is all that would be tested
        return PairedDifference(interval, no_p="the difference is the same for every seed")
    return PairedDifference(interval, p=float(stats.ttest_rel(after, before).pvalue))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction: the chance of any false finding among them stays below the level they are held to.

    The i-th smallest of m is multiplied by m - i + 1; a larger p never ends up below a smaller one; at most 1.
    """
    ascending = sorted(p_values, key=lambda name: p_values[name])
    multiplied = (min(1.0, p_values[name] * (len(ascending) - rank)) for rank, name in enumerate(ascending))
    corrected = dict(zip(ascending, itertools.accumulate(multiplied, max), strict=True))
    return {name: corrected[name] for name in p_values}


def _finite(by_seed: Mapping[int, float]) -> bool:
    return all(map(math.isfinite, by_seed.values()))


def _listed(seeds: Mapping[int, float] | list[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))

"""What paired seeds say about variants: means, differences to a baseline, and p-values.

Source: Student 1908 for the interval and the paired test; Fisher 1935, The Design of Experiments, section 21, for the
sign-flip test; Holm 1979 for the correction. scipy computes the paired test.

Every variant is trained with the same seeds, so that the difference to the baseline is taken seed by seed and what the
seeds share (data order, initialization) drops out. With fewer than three seeds there is no p-value, and a reason
in its place: two differences can lie close together by chance, and a test on one degree of freedom cannot tell.

Pairs are made over the seeds that both have and at which both ended with a finite number. Which ones were left out is
noted: a difference without the seeds that diverged says nothing about them.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from rnnlab.errors import ConfigError
from rnnlab.views.intervals import Interval, mean_interval

MIN_SEEDS = 3
MOST_EXACT = 20  # seeds: a million patterns of signs, and as many seeds as planned looks go to
RESAMPLES = 99_999  # patterns that are drawn where there are more seeds than that


@dataclass(frozen=True)
class PairedDifference:
    """A variant against the baseline, paired by seed.

    Attributes:
        interval: mean of variant - baseline with its 95% interval, in the metric's unit; None if it cannot be paired.
        p: two-sided paired t-test [probability]; None if there is none.
        p_holm: the same, corrected for the number of comparisons [probability].
        no_p: why there is no p-value; empty if there is one.
        p_flip: two-sided sign-flip test [probability]; None where p is.
        p_flip_holm: the same, corrected [probability].
        note: which seeds were left out of the pairs, and why; empty if none was.
    """

    interval: Interval | None
    p: float | None = None
    p_holm: float | None = None
    no_p: str = ""
    p_flip: float | None = None
    p_flip_holm: float | None = None
    note: str = ""


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
    return corrected({
        name: VariantStatistics(
            seeds=tuple(sorted(by_seed)),
            mean=mean_interval(list(by_seed.values())) if _finite(by_seed) else None,
            difference=differences.get(name),
        )
        for name, by_seed in results.items()
    })  # fmt: skip


def corrected(statistics: Mapping[str, VariantStatistics]) -> dict[str, VariantStatistics]:
    """The same with p-values that are corrected for all comparisons among them, whatever they were before."""
    found = {name: one.difference for name, one in statistics.items() if one.difference is not None}
    by_t = holm({name: difference.p for name, difference in found.items() if difference.p is not None})
    by_flip = holm({name: difference.p_flip for name, difference in found.items() if difference.p_flip is not None})
    return {
        name: replace(
            one,
            difference=None
            if one.difference is None
            else replace(one.difference, p_holm=by_t.get(name), p_flip_holm=by_flip.get(name)),
        )
        for name, one in statistics.items()
    }


def paired_difference(baseline: Mapping[int, float], variant: Mapping[int, float]) -> PairedDifference:
    """variant - baseline over the seeds they share, with an interval from two seeds on and p-values from three.

    Where they cannot be paired there is a reason and no error: a study that is not finished still has a table.
    """
    shared = sorted(set(baseline) & set(variant))
    if not shared:
        return PairedDifference(
            None, no_p=f"its seeds ({_listed(variant)}) are none of the baseline's ({_listed(baseline)})"
        )
    seeds = [seed for seed in shared if math.isfinite(baseline[seed]) and math.isfinite(variant[seed])]
    if not seeds:
        ended = "it" if not any(map(math.isfinite, variant.values())) else "the baseline"
        return PairedDifference(None, no_p=f"{ended} diverged")
    note = _left_out(baseline, variant, seeds)
    before, after = [baseline[seed] for seed in seeds], [variant[seed] for seed in seeds]
    differences = np.subtract(after, before)
    interval = mean_interval(differences.tolist())
    if len(seeds) < MIN_SEEDS:
        count = "1 seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
        shared_by = " shared with the baseline" if note else ""
        reason = f"{count}{shared_by}, and a paired t-test needs at least {MIN_SEEDS}"
        return PairedDifference(interval, no_p=reason, note=note)
    if np.ptp(differences) <= 1e-12 * max(map(abs, before)):  # rounding is all that would be tested
        return PairedDifference(interval, no_p="the difference is the same for every seed", note=note)
    p = float(stats.ttest_rel(after, before).pvalue)
    return PairedDifference(interval, p=p, p_flip=sign_flip(differences.tolist()), note=note)


def sign_flip(differences: Sequence[float]) -> float:
    """Two-sided p of the mean of paired differences, by flipping their signs [probability].

    If a variant is no different, each difference might as well have come with the other sign. p is the share of all
    patterns of signs whose mean lies as far from zero as the one that was found. Nothing is assumed of how the
    differences are distributed but that it is symmetric. Exact up to MOST_EXACT differences; beyond that from
    RESAMPLES patterns, the same at every call.
    """
    found = np.asarray(differences, dtype=np.float64)
    if len(found) > MOST_EXACT:
        drawn = stats.permutation_test(
            (found,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, batch=4096, rng=0
        )
        return float(drawn.pvalue)
    sums = np.zeros(1)
    for difference in found:
        sums = np.concatenate([sums + difference, sums - difference])
    total = abs(float(found.sum()))
    rounding = 1e-12 * float(np.abs(found).sum())  # the same sum in another order is no smaller one
    return float(np.mean(np.abs(sums) >= total - rounding))


def least_p_flip(seeds: int) -> float:
    """The least p that the sign-flip test can reach with so many seeds: all differences on one side [probability]."""
    return 2 / 2**seeds if seeds <= MOST_EXACT else 2 / (RESAMPLES + 1)


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


def _left_out(baseline: Mapping[int, float], variant: Mapping[int, float], paired: Sequence[int]) -> str:
    """Which seeds are in no pair, with the reason; empty if all are."""
    lost = {seed: value for seed, value in variant.items() if not math.isfinite(value)}
    base_lost = {seed for seed, value in baseline.items() if not math.isfinite(value)} - set(lost)
    whose = {
        "it lacks": sorted(set(baseline) - set(variant) - base_lost),
        "the baseline lacks": sorted(set(variant) - set(baseline) - set(lost)),
        "at which it diverged": sorted(lost),
        "at which the baseline diverged": sorted(base_lost),
    }
    told = [f"{_listed(seeds)}, which {why}" if "lacks" in why else f"{_listed(seeds)}, {why}"
            for why, seeds in whose.items() if seeds]  # fmt: skip
    return f"over seeds {_listed(paired)}; without {'; '.join(told)}" if told else ""


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))

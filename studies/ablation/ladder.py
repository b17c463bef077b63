"""A ladder of sizes: do small runs predict a large one, and does the effect of a part grow with size?

Source: the power law of Kaplan et al. 2020, arXiv:2001.08361, with the floor of Hoffmann et al. 2022, arXiv:2203.15556:
    metric = a + b N^-c;  a = 0 where too few sizes are fitted to tell a floor from an exponent
The law is fitted to every seed of all sizes but the largest (scipy.optimize.curve_fit) and asked for the largest. Its
intervals are by the delta method with Student's t: they hold if the law does and seeds scatter alike at every size.
The growth of an effect needs no law: a slope for each seed of its paired differences, and the interval of their mean.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from rnnlab.views.intervals import CONFIDENCE, Interval, mean_interval

Ladder: TypeAlias = Mapping[float, Mapping[int, float]]
"""{size: {seed: metric}}. A size is any count above 0: parameters, MACs, bytes of training, or a product of them."""

Floats: TypeAlias = npt.NDArray[np.float64]

FEWEST_SIZES = 3  # with the one that is held out: a line through one point predicts nothing
SIZES_FOR_FLOOR = 4  # fitted ones, that a floor is estimated from: three sizes fit three unknowns whatever they are
MOST_EVALUATIONS = 10_000


@dataclass(frozen=True)
class PowerLaw:
    """metric = floor + coefficient N^-exponent."""

    floor: float  # a, in the metric's unit
    coefficient: float  # b, in the metric's unit
    exponent: float  # c

    def __call__(self, size: float) -> float:
        return self.floor + self.coefficient * math.pow(size, -self.exponent)

    def __str__(self) -> str:
        power = f"{self.coefficient:.3g} N^{-self.exponent:.3g}"
        return power if self.floor == 0.0 else f"{self.floor:.3g} + {power}"


@dataclass(frozen=True)
class Extrapolation:
    """What a law that was fitted to the smaller sizes says about the largest.

    Nobody knows yet what was measured if that is None.
    """

    law: PowerLaw
    exponent: Interval  # with its 95% interval; its count is that of the runs fitted
    size: float  # that was held out
    predicted: Interval  # metric at that size, with the 95% interval of the mean over as many seeds as are run there
    measured: float | None = None  # mean over its seeds

    @property
    def miss(self) -> float | None:
        """Measured - predicted, in the metric's unit."""
        return None if self.measured is None else self.measured - self.predicted.mean

    @property
    def is_within(self) -> bool:
        """Whether the interval holds what was measured."""
        assert self.measured is not None
        assert self.predicted.low is not None
        assert self.predicted.high is not None
        return self.predicted.low <= self.measured <= self.predicted.high


@dataclass(frozen=True)
class NoLaw:
    """Why there is no extrapolation. A study that is not finished still has a table."""

    reason: str


def extrapolate(ladder: Ladder, floor: bool | None = None) -> Extrapolation | NoLaw:
    """Fit all sizes but the largest, predict that one, and put beside it what was measured there.

    Args:
        ladder: of one variant; the metric is lower the better and above 0, such as BPC or nats.
        floor: fit a floor a as well, and leave out one below 0; None: if there are SIZES_FOR_FLOOR sizes to fit.
    """
    if len(ladder) < FEWEST_SIZES:
        return _too_few(len(ladder))
    if not all(ladder.values()):
        return NoLaw("a size has no finished seed")
    *fitted, largest = sorted(ladder)
    measured = list(ladder[largest].values())
    found = predict({size: ladder[size] for size in fitted}, largest, len(measured), floor)
    return found if isinstance(found, NoLaw) else measured_at(found, measured)


def measured_at(prediction: Extrapolation, measured: Sequence[float]) -> Extrapolation | NoLaw:
    """The prediction beside what the seeds of the largest size reached."""
    if not all(map(math.isfinite, measured)):
        return NoLaw("a run diverged")
    if min(measured) <= 0.0:
        return NoLaw("a power law takes sizes and values above 0")
    return replace(prediction, measured=math.fsum(measured) / len(measured))


def predict(ladder: Ladder, size: float, seeds: int, floor: bool | None = None) -> Extrapolation | NoLaw:
    """Fit all sizes that there are, and predict the mean over so many seeds at a larger one.

    Args:
        ladder, floor: as in `extrapolate`, without the size that is predicted.
    """
    values = [value for by_seed in ladder.values() for value in by_seed.values()]
    if len(ladder) < FEWEST_SIZES - 1:
        return _too_few(len(ladder) + 1)
    if not all(map(math.isfinite, values)):
        return NoLaw("a run diverged")
    if not all(ladder.values()):
        return NoLaw("a size has no finished seed")
    if min(values) <= 0.0 or min(ladder) <= 0.0:
        return NoLaw("a power law takes sizes and values above 0")
    fitted = sorted(ladder)
    with_floor = len(fitted) >= SIZES_FOR_FLOOR if floor is None else floor
    sizes = np.array([at for at in fitted for _ in ladder[at]])
    metric = np.array([value for at in fitted for value in ladder[at].values()])
    if len(metric) < 4 or (with_floor and len(fitted) < 3):
        return NoLaw(f"{len(metric)} runs at {len(fitted)} sizes leave nothing to estimate the scatter from")
    found = _fit(sizes, metric, with_floor, size, seeds)
    if with_floor and (isinstance(found, NoLaw) or found.law.floor < 0.0):  # no floor is in sight
        return _fit(sizes, metric, False, size, seeds)
    return found


def _too_few(sizes: int) -> NoLaw:
    return NoLaw(f"{sizes} sizes, and a law takes at least {FEWEST_SIZES}, the largest held out")


def _fit(sizes: Floats, metric: Floats, with_floor: bool, largest: float, seeds: int) -> Extrapolation | NoLaw:
    free = len(metric) - (3 if with_floor else 2)  # degrees of freedom that are left for the scatter
    middle = float(np.log(sizes).mean())  # or coefficient and exponent could hardly be told apart

    def law(size: Any, level: float, exponent: float, a: float = 0.0) -> Any:
        return a + np.exp(level - exponent * (np.log(size) - middle))

    slope, level = np.polyfit(np.log(sizes) - middle, np.log(metric), 1)
    start = [level, -slope] + ([0.0] if with_floor else [])
    try:
        found, covariance = optimize.curve_fit(law, sizes, metric, start, maxfev=MOST_EVALUATIONS)
    except RuntimeError:
        return NoLaw("no law fits: the fit does not converge")
    if not np.isfinite(covariance).all():
        return NoLaw("no law fits: the sizes do not determine it")
    scatter = float(((metric - law(sizes, *found)) ** 2).sum()) / free  # variance of a run
    gradient = optimize.approx_fprime(found, lambda unknowns: law(largest, *unknowns))
    variance = float(gradient @ covariance @ gradient) + scatter / seeds
    a = float(found[2]) if with_floor else 0.0
    return Extrapolation(
        PowerLaw(a, math.exp(found[0] + found[1] * middle), float(found[1])),
        _interval(float(found[1]), float(covariance[1, 1]), free, len(metric)),
        largest,
        _interval(float(law(largest, *found)), variance, free, len(metric)),
    )


def _interval(mean: float, variance: float, free: int, count: int) -> Interval:
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, free)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half, count)


@dataclass(frozen=True)
class Growth:
    """How the difference of a variant to the baseline changes with size."""

    differences: Mapping[float, Interval]  # {size: mean of variant - baseline, paired by seed}
    per_doubling: Interval  # of the size, in the metric's unit; its interval is over seeds


def growth(baseline: Ladder, variant: Ladder) -> Growth | NoLaw:
    """Does the effect of a part grow with size? Seeds that both have at every size are compared.

    For each seed a line is fitted to the differences variant - baseline against the logarithm of the size. The slopes
    of the seeds are independent, so their mean has a Student interval, whatever a seed's sizes share.
    """
    sizes = sorted(set(baseline) & set(variant))
    if len(sizes) < 2:
        return NoLaw(f"{len(sizes)} sizes in common, and a slope takes at least 2")
    seeds = sorted(set.intersection(*(set(ladder[size]) for ladder in (baseline, variant) for size in sizes)))
    if not seeds:
        return NoLaw("no seed was run at every size by both")
    table = np.array([[variant[size][seed] - baseline[size][seed] for seed in seeds] for size in sizes])  # (N, seeds)
    if not np.isfinite(table).all():
        return NoLaw("a run diverged")
    slopes = np.polyfit(np.log2(sizes), table, 1)[0]
    differences = {size: mean_interval(row.tolist()) for size, row in zip(sizes, table, strict=True)}
    return Growth(differences, mean_interval(slopes.tolist()))

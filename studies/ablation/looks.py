"""Several looks at one study, with an error that all of them share: "as many seeds as it takes".

Who adds seeds until a p-value is small finds differences where there are none: of five looks, one or another is below
5% in about one study of eight. Therefore the looks are planned before the first, each may spend a part of the 5%, and
an interval or a p-value is held to the part of its look.

Source: Lan & DeMets 1983 for spending the level as information comes in, here in their form that is like Pocock 1977:
    spent(t) = alpha ln(1 + (e - 1) t),  t = seeds / most seeds
Differs: a look is held to what it adds to that, by Bonferroni. The nominal levels of Lan and DeMets are higher by what
the looks have in common, but they are for normal statistics of known variance, and few seeds are not. Bonferroni asks
nothing: whatever rule ends the study, and at whichever look, the error of all looks is at most alpha. The form like
O'Brien & Fleming 1979 leaves a look at three seeds one part in a million, at which no interval is ever narrow.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from scipy import stats

from rnnlab.studies.ablation.statistics import PairedDifference, VariantStatistics
from rnnlab.views.intervals import CONFIDENCE, Interval

ALPHA = 0.05  # of all looks together [probability]
GROWTH = 1.6  # from one look to the next; a look costs level, and too few of them cost seeds


@dataclass(frozen=True)
class Look:
    """A number of seeds at which a study may end."""

    seeds: int
    level: float  # what this look may spend [probability]


def planned(first: int, most: int) -> tuple[Look, ...]:
    """The looks of a study: from `first` seeds to `most`, at counts that grow evenly; their levels add up to ALPHA."""
    counts = [first]
    while counts[-1] < most:
        following = round(GROWTH * counts[-1])
        counts.append(most if following * math.sqrt(GROWTH) > most else following)
    total = [0.0, *(spent(count / most) for count in counts)]
    return tuple(Look(counts[i], total[i + 1] - total[i]) for i in range(len(counts)))


def spent(information: float) -> float:
    """The level that all looks may have spent by then [probability].

    Args:
        information: seeds over the most seeds [fraction].
    """
    return ALPHA * math.log(1 + (math.e - 1) * information)


def at_look(statistics: Mapping[str, VariantStatistics], level: float) -> dict[str, VariantStatistics]:
    """The same, held to the level of one look.

    The interval of a difference is at 1 - level: over all looks, and wherever the study ends, it holds the difference
    with at least 95% (a repeated confidence interval, Jennison & Turnbull 1989). p after Holm is multiplied by
    ALPHA / level, so that it may be compared with ALPHA: that of the t-test and that of the sign-flip test, as what a
    look may spend holds for every test. Means and p by itself stay as they are.
    """
    return {
        name: one if one.difference is None else replace(one, difference=held_to(one.difference, level))
        for name, one in statistics.items()
    }


def widest(statistics: Mapping[str, VariantStatistics]) -> tuple[str, float] | None:
    """(variant, half-width) of the widest interval of a difference; None if there is no interval at all."""
    widths = {name: half for name, one in statistics.items() if (half := _half_width(one.difference)) is not None}
    return max(widths.items(), key=lambda one: one[1], default=None)


def _half_width(difference: PairedDifference | None) -> float | None:
    return None if difference is None or difference.interval is None else difference.interval.half_width


def held_to(difference: PairedDifference, level: float) -> PairedDifference:
    """One difference, as `at_look` has it."""
    return replace(
        difference,
        interval=interval_at(difference.interval, level),
        p_holm=_corrected(difference.p_holm, level),
        p_flip_holm=_corrected(difference.p_flip_holm, level),
    )


def _corrected(p: float | None, level: float) -> float | None:
    """For the other looks."""
    return None if p is None else min(1.0, p * ALPHA / level)


def interval_at(interval: Interval | None, level: float) -> Interval | None:
    """An interval of CONFIDENCE, at 1 - level."""
    if interval is None or interval.half_width is None:
        return interval
    was, now = (stats.t.ppf((1 + one) / 2, interval.count - 1) for one in (CONFIDENCE, 1 - level))
    half = interval.half_width * float(now / was)
    return replace(interval, low=interval.mean - half, high=interval.mean + half)

"""What the factors of a grid do: the mean of each level over the other factors, and how far two factors depend on each
other.

Everything is taken seed by seed. The interaction of two levels is the difference of differences
    (y_ab - y_0b) - (y_a0 - y_00)
with y averaged over the levels of all other factors: what b changes about the effect of a, and the same the other way.
Source: Cox 1984, "Interaction", for the contrast; Student 1908 and Holm 1979 as in `statistics`.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rnnlab.studies.ablation.statistics import PairedDifference, holm, paired_difference
from rnnlab.views.intervals import Interval, mean_interval

BySeed = Mapping[int, float]
Cell = tuple[str, ...]  # a level of each factor


@dataclass(frozen=True)
class LevelMean:
    """One level of a factor, over all levels of the others.

    Attributes:
        mean: of the metric, over the seeds; None if a run diverged.
        difference: to the level of the base, paired by seed; None for that level, and where a run diverged.
    """

    factor: str
    level: str
    mean: Interval | None
    difference: Interval | None


@dataclass(frozen=True)
class Interaction:
    """Two levels of two factors, against the levels that the base has of them.

    Attributes:
        factors: (of the change, of what it is compared between).
        change: (level of the base, level) of the first factor.
        between: the same of the second.
        effects: what the change does at the first and at the second of `between`, paired by seed; None if a run
            diverged.
        difference: the second effect less the first; its p_holm is over all interactions of the grid.
    """

    factors: tuple[str, str]
    change: tuple[str, str]
    between: tuple[str, str]
    effects: tuple[Interval | None, Interval | None]
    difference: PairedDifference


@dataclass(frozen=True)
class Grid:
    """The results of a grid in which every combination of levels has a finished seed.

    Attributes:
        factors: levels by factor, that of the base first.
        scores: the metric by combination and seed; not finite where training diverged.
    """

    factors: Mapping[str, Sequence[str]]
    scores: Mapping[Cell, BySeed]

    @property
    def seeds(self) -> list[int]:
        """Those that every combination has."""
        return sorted(set.intersection(*(set(by_seed) for by_seed in self.scores.values())))

    @property
    def left_out(self) -> list[int]:
        """Seeds that only some combinations have."""
        return sorted({seed for by_seed in self.scores.values() for seed in by_seed} - set(self.seeds))

    def mean(self, levels: Mapping[str, str]) -> dict[int, float]:
        """By seed, the mean over all combinations in which these factors have these levels: {factor: level}."""
        at = {list(self.factors).index(factor): level for factor, level in levels.items()}
        cells = [cell for cell in self.scores if all(cell[index] == level for index, level in at.items())]
        return {seed: math.fsum(self.scores[cell][seed] for cell in cells) / len(cells) for seed in self.seeds}

    def level_means(self) -> list[LevelMean]:
        """Of every level of every factor, in the order of the study."""
        return [
            LevelMean(
                factor,
                level,
                finite_interval(self.mean({factor: level})),
                _less(self.mean({factor: level}), self.mean({factor: base})) if level != base else None,
            )
            for factor, (base, *others) in self.factors.items()
            for level in (base, *others)
        ]

    def interactions(self) -> list[Interaction]:
        """Of every two levels of every two factors. The later factor is the one that changes: of {core, memory}, what
        memory does with one core and with another."""
        found = [self._interaction(*pair) for pair in self._pairs()]
        p_values = {str(i): one.difference.p for i, one in enumerate(found) if one.difference.p is not None}
        corrected = holm(p_values)
        return [
            replace(one, difference=replace(one.difference, p_holm=corrected.get(str(i))))
            for i, one in enumerate(found)
        ]

    def _pairs(self) -> Iterator[tuple[str, str, str, str]]:
        for (outer, (_, *outer_levels)), (inner, (_, *inner_levels)) in itertools.combinations(self.factors.items(), 2):
            for own, other in itertools.product(inner_levels, outer_levels):
                yield inner, own, outer, other

    def _interaction(self, inner: str, own: str, outer: str, other: str) -> Interaction:
        before, at = self.factors[inner][0], self.factors[outer][0]
        without, single = self.mean({inner: before, outer: at}), self.mean({inner: own, outer: at})
        second, both = self.mean({inner: before, outer: other}), self.mean({inner: own, outer: other})
        added = {seed: second[seed] + single[seed] - without[seed] for seed in both}
        return Interaction(
            factors=(inner, outer),
            change=(before, own),
            between=(at, other),
            effects=(_less(single, without), _less(both, second)),
            difference=_paired(added, both),
        )


def grid_of(factors: Mapping[str, Sequence[str]], scores: Mapping[Cell, BySeed]) -> Grid | None:
    """The grid, if at least two factors are varied and all its combinations share a seed; else None.

    Args:
        factors: levels by factor, that of the base first.
        scores: the metric by combination of levels and seed.
    """
    if len(factors) < 2 or set(scores) != set(itertools.product(*factors.values())):
        return None
    grid = Grid(factors, scores)
    return grid if grid.seeds else None


def _paired(added: BySeed, reached: BySeed) -> PairedDifference:
    """What was reached less what two effects add up to."""
    if diverged := [seed for seed in reached if not math.isfinite(added[seed] + reached[seed])]:
        return PairedDifference(None, no_p=f"seed {', '.join(map(str, diverged))} diverged in a combination")
    return paired_difference(added, reached)


def _less(one: BySeed, other: BySeed) -> Interval | None:
    return finite_interval({seed: one[seed] - other[seed] for seed in one})


def finite_interval(by_seed: BySeed) -> Interval | None:
    """Mean and interval over the seeds; None if one of them diverged."""
    return mean_interval(list(by_seed.values())) if all(map(math.isfinite, by_seed.values())) else None

"""Runs grouped by seed: runs whose configurations differ in the seed alone are one variant."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rnnlab.views.curves import Curves, Point
from rnnlab.views.intervals import Interval, mean_interval
from rnnlab.views.metrics import Word
from rnnlab.views.naming import numbered, study_of
from rnnlab.views.runs import Run

Split: TypeAlias = Literal["valid", "train"]

MOST_TRAIN_POINTS = 50  # of a drawn curve: the loss of single steps would be a band of noise


@dataclass(frozen=True)
class Variant:
    """Runs of one configuration, each with its own seed, and a name for them."""

    name: str
    runs: Sequence[Run]

    @property
    def done(self) -> list[Run]:
        return [run for run in self.runs if run.status == "done"]

    def interval(self, key: str) -> Interval | None:
        """Mean and interval of a figure over the runs that are done; None if none has it."""
        values = [value for run in self.done if (value := run.number(key)) is not None]
        return mean_interval(values) if values else None

    def mean(self, key: str) -> float | None:
        """Mean of a figure over the runs that are done, over all if none is; exact where they agree."""
        values = [value for run in self.done or self.runs if (value := run.number(key)) is not None]
        return (values[0] if len(set(values)) == 1 else sum(values) / len(values)) if values else None

    @property
    def task(self) -> str:
        """The name of its task; empty on text."""
        return self.runs[0].task

    @property
    def word(self) -> Word:
        """What it is judged by."""
        return self.runs[0].word

    def curves(self, word: Word) -> list[Curves]:
        """Of every run, in one word; empty ones of a run that does not have it."""
        return [run.curves.get(word, Curves()) for run in self.runs]

    def mean_curve(self, word: Word, split: Split = "valid") -> list[Point]:
        """Validation, or training, over the seeds, where every run that has begun was evaluated.

        Seeds of a task draw lengths of their own: their evaluations are the first, the second, and so on, and stand at
        the mean of the positions that they had trained.
        """
        curves = [points for one in self.curves(word) if (points := one.valid if split == "valid" else one.train)]
        n = len(curves)
        return [
            Point(round(sum(p.bytes for p in at) / n), sum(p.seconds for p in at) / n, sum(p.value for p in at) / n)
            for at in (_at_equal_bytes(curves) if word == "BPC" else zip(*curves, strict=False))
        ]


def _at_equal_bytes(curves: Sequence[Sequence[Point]]) -> list[list[Point]]:
    """The points of all curves at each number of bytes that they share."""
    found = [{point.bytes: point for point in one} for one in curves]
    shared = sorted(set.intersection(*map(set, found))) if found else []
    return [[one[position] for one in found] for position in shared]


def group_by_seed(runs: Sequence[Run]) -> list[Variant]:
    """Runs by configuration, in order of appearance; a variant is called as its study calls it, else what the names of
    its runs share.

    Runs of one configuration that one study calls by two names stay apart: a trial that a search chose for its score,
    and the same over fresh seeds, whose mean that score would make too good.
    """
    found: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        found.setdefault(tuple(sorted(run.bindings.items())), []).append(run)
    groups = [group for alike in found.values() for group in _as_called(alike)]
    folded = len(groups) < len(runs)
    names = [_told_name(group) or _shared_name([run.name for run in group], folded) for group in groups]
    return [Variant(name, group) for name, group in zip(numbered(names), groups, strict=True)]


def _as_called(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs of one configuration by name, if one study has several names for it; else all of them together."""
    named = {(study_of(run), run.variant) for run in runs if run.variant}
    if len({study for study, _ in named}) == len(named):
        return [list(runs)]
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.variant, []).append(run)
    return list(groups.values())


def _told_name(runs: Sequence[Run]) -> str:
    """What studies call the configuration of these runs; empty if none of them was trained by one."""
    return " = ".join(dict.fromkeys(run.variant for run in runs if run.variant))


def _shared_name(names: Sequence[str], folded: bool) -> str:
    """core/seed-1, core/seed-2 -> core, also with the hash that a study puts behind the seed; a run on its own loses
    its seed only beside variants that are folded."""
    if not folded:
        return names[0]
    without_seed = {re.sub(r"[-_/. ]*(seed)?[-_=]?[0-9]+(-[0-9a-f]{8})?$", "", name) for name in names}
    if len(without_seed) == 1 and (shared := without_seed.pop()):
        return shared
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def deviations(found: dict[str, list[str | None]], index: int) -> tuple[str, ...]:
    """The bindings of one variant that are not those of a majority; all that differ where there is no majority.

    What it does not bind is told only if there is nothing else to tell: a part left out takes its bindings along.
    """
    odd = {key: values[index] for key, values in found.items() if 2 * values.count(values[index]) <= len(values)}
    bound = tuple(f"{key} = {value}" for key, value in odd.items() if value is not None)
    return bound or tuple(f"{key} is not bound" for key in odd)


def thin(points: Sequence[Point], most: int) -> list[Point]:
    """At most `most` points that stand for all: means over stretches of equal length."""
    if len(points) <= most:
        return list(points)
    edges = [len(points) * i // most for i in range(most + 1)]
    stretches = [points[a:b] for a, b in itertools.pairwise(edges)]
    return [Point(s[-1].bytes, s[-1].seconds, sum(point.value for point in s) / len(s)) for s in stretches]

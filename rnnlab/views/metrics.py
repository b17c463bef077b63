"""The figures that runs are compared by: BPC of runs on text, accuracy and nats of runs on tasks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from rnnlab.errors import ConfigError

Word: TypeAlias = Literal["BPC", "accuracy", "nats"]
Facts: TypeAlias = Mapping[str, Any]
UNITS: dict[Word, str] = {"BPC": "bits/byte", "accuracy": "fraction", "nats": "nats/answer"}


@dataclass(frozen=True)
class Metric:
    """One figure of result.json, and how it reads."""

    key: str  # in result.json; with @256 behind it, of the test at difficulty 256
    title: str  # within a sentence
    word: Word  # what it measures
    higher_is_better: bool
    digits: int  # that a table shows behind the point

    @property
    def heading(self) -> str:
        """The title as a column and an axis begin with it."""
        return self.title[0].upper() + self.title[1:]

    @property
    def unit(self) -> str:
        return UNITS[self.word]


def _of_splits(end: str, word: Word, higher_is_better: bool) -> list[Metric]:
    splits = ("valid", "best_valid", "test")
    return [Metric(f"{s}_{end}", f"{s.replace('_', ' ')} {word}", word, higher_is_better, 3) for s in splits]


METRICS: dict[str, Metric] = {
    one.key: one
    for one in (
        *_of_splits("bpc", "BPC", False),
        *_of_splits("accuracy", "accuracy", True),
        *_of_splits("nats", "nats", False),
        Metric("valid_dynamic_bpc", "valid BPC with dynamic evaluation", "BPC", False, 3),
        Metric("test_dynamic_bpc", "test BPC with dynamic evaluation", "BPC", False, 3),
        Metric("online_bpc", "online BPC", "BPC", False, 3),
    )
}
"""By key. With dynamic evaluation a model learns from what was scored before, and online from what it trains on: these
are other figures than those of a model that is scored as it is, and stand in columns of their own. The best of valid is
the evaluation with the lowest loss: its nats, and the accuracy that it had."""


def metric(key: str) -> Metric:
    """The metric of a key: one of METRICS, or one difficulty of the test, `test_accuracy@256`.

    Raises: ConfigError if there is none, and for a difficulty of what is not measured by difficulty.
    """
    name, at, difficulty = key.partition("@")
    if name not in METRICS:
        raise ConfigError(f"no metric {name!r}; the metrics are {', '.join(METRICS)}")
    if not at:
        return METRICS[name]
    if name not in ("test_accuracy", "test_nats") or not difficulty.isdecimal():
        raise ConfigError(f"no metric {key!r}; one difficulty of the test is test_accuracy@256 or test_nats@256")
    return replace(METRICS[name], key=key, title=f"{METRICS[name].title} at {int(difficulty)}")


def value(facts: Facts, key: str) -> float | None:
    """A finite number that a run reached, or None.

    Args:
        facts: as result.json has them.
        key: as of `metric`.
    Raises: ConfigError as `metric`, and if the run was tested at other difficulties.
    """
    one = metric(key)
    name, at, difficulty = key.partition("@")
    if not at:
        return number(facts.get(name))
    rows = by_difficulty(facts)
    if rows and int(difficulty) not in rows:
        tested = ", ".join(map(str, rows))
        raise ConfigError(f"{key}: the test was at {difficulty_of(facts)} {tested}; name one of these")
    return number(rows.get(int(difficulty), {}).get(one.word))


def number(value: Any) -> float | None:
    """The value if it is a finite number."""
    finite = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if finite else None


def is_task(facts: Facts) -> bool:
    """Whether a run is on a task; one on text has BPC."""
    return isinstance(facts.get("task"), Mapping)


def task_name(facts: Facts) -> str:
    """The task of a run; empty of a run on text."""
    return str(facts["task"].get("name", "")) if is_task(facts) else ""


def difficulty_of(facts: Facts) -> str:
    """What the difficulties of a task count: "length", "pairs", "distance"."""
    return str(facts["task"].get("difficulty", "difficulty")) if is_task(facts) else "difficulty"


def by_difficulty(facts: Facts) -> dict[int, Facts]:
    """The test of a run on a task by difficulty, in ascending order; empty if it was not tested."""
    counted, rows = difficulty_of(facts), facts.get("test_by")
    found = {row.get(counted): row for row in rows if isinstance(row, Mapping)} if isinstance(rows, list) else {}
    return {difficulty: found[difficulty] for difficulty in sorted(key for key in found if isinstance(key, int))}

"""The floor of a metric: what a model reaches that has learned nothing but how frequent each answer is.

Of a text that is the entropy of single bytes in what was scored, of a task the accuracy of the best constant answer.
A variant that has not left its floor says nothing about its parts, however small its p-value is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnlab.studies.ablation.scored import NORMAL_95, chance, examples
from rnnlab.views import numerals, plots, tables
from rnnlab.views.intervals import Interval
from rnnlab.views.metrics import Metric, Word, number
from rnnlab.views.naming import in_a_row

Result = Mapping[str, Any]

AT_FLOOR = "at_floor"
COLUMNS: dict[Word, tuple[str, str]] = {"accuracy": ("chance", "Chance"), "BPC": ("unigram_bpc", "Single bytes")}
"""Key and title of the column of the floor."""

MEANING: dict[Word, str] = {
    "accuracy": "accuracy of the best constant answer",
    "BPC": "entropy of single bytes in what was scored, the BPC of the best prediction that looks at nothing",
}


@dataclass(frozen=True)
class MetricFloor:
    """Where the floor of some runs lies.

    Attributes:
        value: in the metric's unit.
        margin: how far a model at the floor may lie from it by the draw of the examples that are scored (95%).
    """

    value: float
    margin: float = 0.0


def floor_of(results: Sequence[Result], metric: Metric) -> MetricFloor | None:
    """The floor of these runs; None where none is known: of nats, and of runs that did not note it.

    Source: the normal approximation to the binomial for the margin of an accuracy.
    """
    if metric.word == "accuracy":
        constant = chance(results, metric.key)
        if constant is None:
            return None
        fewest = min(examples(results, metric.key), default=0)
        error = NORMAL_95 * math.sqrt(constant * (1 - constant) / fewest) if fewest else 0.0
        return MetricFloor(constant, error)
    if metric.word != "BPC":
        return None
    key = "test_unigram_bpc" if metric.key.startswith("test_") else "valid_unigram_bpc"
    told = [entropy for result in results if (entropy := number(result.get(key))) is not None]
    return MetricFloor(told[0]) if told else None


def is_at(floor: MetricFloor | None, reached: Interval | None, metric: Metric) -> bool:
    """Whether a mean may be no better than the floor: it lies within its margin, or its interval reaches to it."""
    if floor is None or reached is None:
        return False
    sign = 1 if metric.higher_is_better else -1
    least = reached.mean - (reached.half_width or 0.0) if sign > 0 else reached.mean + (reached.half_width or 0.0)
    return sign * (reached.mean - floor.value) <= floor.margin or sign * (least - floor.value) <= 0


def label_of(metric: Metric) -> str:
    """What the floor is called in pictures and notes."""
    return "chance" if metric.word == "accuracy" else "entropy of single bytes"


def level(floors: Sequence[MetricFloor | None], metric: Metric) -> plots.Floor | None:
    """For a picture; None where the variants do not have one floor in common."""
    values = {None if one is None else one.value for one in floors} - {None}
    return plots.Floor(values.pop() or 0.0, label_of(metric)) if len(values) == 1 else None


def columns(metric: Metric) -> list[tables.Column]:
    """The column of the floor, of a metric that has one."""
    shown = COLUMNS.get(metric.word)
    return [tables.Column(*shown, "number", numerals.decimal(metric.digits))] if shown else []


def marks(metric: Metric) -> list[tables.Column]:
    """The column, for programs, of what has not left the floor; others are `marked_by` it."""
    return [tables.Column(AT_FLOOR, "At the floor", is_shown=False)] if metric.word in COLUMNS else []


def cells(floor: MetricFloor | None, reached: Interval | None, metric: Metric) -> dict[str, tables.Cell]:
    """A variant's cells in these columns."""
    return {} if floor is None else {COLUMNS[metric.word][0]: floor.value, AT_FLOOR: is_at(floor, reached, metric)}


def notes(
    floors: Mapping[str, MetricFloor | None], reached: Mapping[str, Interval | None], metric: Metric
) -> list[str]:
    """What the column says, and what a dagger does; none where no floor is known.

    Args:
        floors, reached: floor and mean by variant.
    """
    if not any(floors.values()):
        return []
    told = [f"{COLUMNS[metric.word][1]}: {MEANING[metric.word]}."]
    if at := [name for name, floor in floors.items() if is_at(floor, reached[name], metric)]:
        told.append(
            f"{tables.DAGGER} not told apart from {label_of(metric)} (95%): {in_a_row(at)}. Such a variant has "
            "not learned it yet, or cannot: its difference and its p say that, and not by how much its parts matter."
        )
    return told

"""Learning curves, as metrics.jsonl has them: BPC of a run on text, accuracy and loss of a run on a task."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnlab.views.metrics import Word

Records = Sequence[Mapping[str, Any]]
FIELDS: dict[Word, tuple[str, str]] = {
    "BPC": ("valid_bpc", "bpc"),
    "accuracy": ("valid_accuracy", "accuracy"),
    "nats": ("valid_nats", "loss"),
}
"""What validation and training call a word in metrics.jsonl."""


@dataclass(frozen=True)
class Point:
    """One point of a learning curve."""

    bytes: int  # trained so far [bytes]; of a task [positions]
    seconds: float  # spent training so far [s]
    value: float  # BPC [bits/byte], accuracy [fraction] or loss [nats/answer]


@dataclass(frozen=True)
class Curves:
    """The learning curves of one run, in one word."""

    valid: Sequence[Point] = ()
    train: Sequence[Point] = ()


def is_journal_of_task(records: Records) -> bool:
    return any("valid_accuracy" in record or "accuracy" in record for record in records)


def read_curves(records: Records, of_task: bool) -> dict[Word, Curves]:
    """By word, first the one that a run is judged by; what is not finite has no point."""
    words: tuple[Word, ...] = ("accuracy", "nats") if of_task else ("BPC",)
    return {
        word: Curves(*(_curve(records, *of) for of in zip(("valid", "train"), FIELDS[word], strict=True)))
        for word in words
    }


def _curve(records: Records, kind: str, field: str) -> list[Point]:
    points = []
    for record in records:
        values = [record.get(key) for key in ("bytes", "seconds", field)]
        if record.get("kind") == kind and all(isinstance(v, int | float) and math.isfinite(v) for v in values):
            points.append(Point(int(values[0]), float(values[1]), float(values[2])))  # type: ignore[arg-type]
    return points


def standing(records: Records, curves: Mapping[Word, Curves]) -> dict[str, Any]:
    """What result.json will say, as far as the journal knows: a run that is not finished has figures as well."""
    points = [point for one in curves.values() for point in (*one.valid[-1:], *one.train[-1:])]
    last = max(points, key=lambda point: point.bytes, default=None)
    memory = [record["memory_mb"] for record in records if isinstance(record.get("memory_mb"), int | float)]
    return {
        **_reached(curves),
        "bytes_trained": last.bytes if last else None,
        "seconds": last.seconds if last else None,
        "bytes_per_second": last.bytes / last.seconds if last and last.seconds > 0 else None,
        "peak_memory_mb": max(memory, default=None),
    }


def _reached(curves: Mapping[Word, Curves]) -> dict[str, float | None]:
    """Validation's last figures and its best: those of the evaluation with the lowest loss."""
    found: dict[str, float | None] = {}
    losses = curves["nats" if "nats" in curves else "BPC"].valid
    best = min(losses, key=lambda point: point.value, default=None)
    for word, one in curves.items():
        field, _ = FIELDS[word]
        found[field] = one.valid[-1].value if one.valid else None
        found[f"best_{field}"] = next((p.value for p in one.valid if best and p.bytes == best.bytes), None)
    return found

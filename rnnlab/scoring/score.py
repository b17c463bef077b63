"""What a split came to, and how that was measured."""

from dataclasses import dataclass, field
from typing import Any

from rnnlab.scoring.losses import LN2


@dataclass(frozen=True)
class Protocol:
    """How a figure was measured; without it a figure says little."""

    batch_size: int  # sequences side by side: contiguous pieces of a text, or examples of a task
    bptt: int  # [positions] read at a time; a static figure does not depend on it beyond rounding
    memory: int | None  # [positions] each query may see; None without attention
    bytes_scored: int | None = None  # of a text
    examples: int | None = None  # of a task
    answers: int | None = None  # of a task, that accuracy is about
    dynamic: dict[str, Any] | None = None  # how the model learned from what was scored; None if it did not

    def told(self) -> dict[str, Any]:
        """What of it there is: memory, which may be None, and the counts of one sort of source."""
        dynamic = {} if self.dynamic is None else {"dynamic": self.dynamic}
        return {"batch_size": self.batch_size, "bptt": self.bptt, "memory": self.memory, **self.counts(), **dynamic}

    def counts(self) -> dict[str, int]:
        """How much was scored."""
        counts = {"bytes_scored": self.bytes_scored, "examples": self.examples, "answers": self.answers}
        return {name: count for name, count in counts.items() if count is not None}


@dataclass(frozen=True)
class Answers:
    """How the answers at one difficulty of a task came out."""

    difficulty: int
    accuracy: float  # on what the task judges [fraction]
    accuracy_last: float  # at the last position of every example
    accuracy_asked: float  # on all that is asked
    accuracy_whole: float  # of examples, those whose every answer is right
    nats: float  # mean over what is asked
    chance: float  # accuracy of the best constant answer
    examples: int
    answers: int  # that `accuracy` is about


@dataclass(frozen=True)
class Score:
    """What a split came to.

    Of a task accuracy, nats and chance are means over its difficulties, each of which counts alike.
    """

    nats: float  # mean over the bytes, or answers, that were scored
    protocol: Protocol
    by: tuple[Answers, ...] = field(default=())  # of a task, one a difficulty

    @property
    def bpc(self) -> float:
        """[bits/byte] of a text, the mean over the bytes scored."""
        return self.nats / LN2

    @property
    def accuracy(self) -> float | None:
        """[fraction]; None of a text."""
        return _mean([one.accuracy for one in self.by])

    @property
    def chance(self) -> float | None:
        """[fraction] that the best constant answers get right; None of a text."""
        return _mean([one.chance for one in self.by])

    @property
    def loss(self) -> float:
        """What is lower of the better: BPC of a text, nats of a task."""
        return self.nats if self.by else self.bpc


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None

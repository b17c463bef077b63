"""What is learned from: a text or a task. Who trains, saves, searches or compares does not know which it has.

A source is read in readings. Each begins without state: a text from its first byte to its last, again and again; of a
task one batch of examples, of which there is no end.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from rnnlab.task import Task


class Chunk(NamedTuple):
    """T positions of the batch, read at once; at position 0 a reading begins, without state or memory."""

    reading: int
    position: int  # within each sequence of the batch
    length: int


class Read(NamedTuple):
    """What a chunk holds, time-major and int64."""

    inputs: Tensor  # (T, B)
    targets: Tensor  # (T, B)
    weights: Tensor | None = None  # (T, B) float32, what each answer counts; None if all count alike
    asked: Tensor | None = None  # (n,) int64: of the flattened (T, B), the positions of weight; None if all have some

    def to(self, device: torch.device) -> "Read":
        """The same on a device."""
        optional = (None if x is None else x.to(device, non_blocking=True) for x in (self.weights, self.asked))
        inputs, targets = (x.to(device, non_blocking=True) for x in (self.inputs, self.targets))
        return Read(inputs, targets, *optional)

    @property
    def where(self) -> tuple[Tensor, ...]:
        """What a model is told beside inputs and state: `asked`, if there is something to say."""
        return () if self.asked is None else (self.asked,)

    def answers(self, of: Tensor) -> Tensor:
        """Of a tensor (T, B), what stands where something is asked: (n,), or (T B,) if that is everywhere."""
        return of.flatten() if self.asked is None else of.flatten()[self.asked]


class Reader(Protocol):
    """A split as one process reads it: its share of B sequences, side by side."""

    @property
    def count(self) -> int:
        """Sequences of this process."""

    @property
    def first(self) -> int:
        """Number of the first of them among all B."""

    @property
    def epoch(self) -> int | None:
        """Positions of one pass over all there is, of all sequences [positions]; None if there is no end."""

    def positions(self, reading: int) -> int:
        """[positions] of each sequence that something follows from."""

    def mean_chunk(self, bptt: int) -> float:
        """Length of a chunk, of at most bptt, on average [positions]; about, where a reading leaves a rest."""

    def weight(self, chunk: Chunk) -> float:
        """What all answers of a chunk count together, those of the other processes among them."""

    def read(self, chunk: Chunk) -> Read:
        """What this process reads. Raises: DataError if it cannot any more."""

    def held(self) -> Sequence[Tensor]:
        """What lies on the device from step to step."""


class Portion(NamedTuple):
    """What is scored under one heading: a split of a text as a whole, or the examples of one difficulty."""

    reader: Reader
    readings: range
    difficulty: int | None = None
    chance: float | None = None  # accuracy of the best constant answer [fraction]
    judged: str | None = None  # which answers accuracy is about: "asked" or "last"; None where there is no accuracy

    def chunks(self, bptt: int) -> Iterator[Chunk]:
        """All there is, at most `bptt` positions at a time."""
        for reading in self.readings:
            length = self.reader.positions(reading)
            for position in range(0, length, bptt):
                yield Chunk(reading, position, min(bptt, length - position))


class Scorable(Protocol):
    """What is scored: of a text a stretch, of a task examples that training does not draw."""

    @property
    def name(self) -> str: ...

    def __len__(self) -> int:
        """[positions]"""

    def parts(self, batch_size: int, limit: int | None, device: torch.device) -> Sequence[Portion]:
        """As it is read, at most `batch_size` sequences side by side.

        Args:
            limit: [positions] to be scored, about; None for all.
        Raises: ConfigError, DataError if it cannot be read so.
        """

    def scored(self, batch_size: int, limit: int | None) -> dict[str, int]:
        """How much that is: {"bytes_scored": ...} of a text, {"examples": ..., "answers": ...} of a task."""


class Source(Protocol):
    """A text or a task."""

    @property
    def name(self) -> str: ...

    @property
    def vocabulary(self) -> int:
        """V: tokens there are, of inputs and targets alike."""

    @property
    def task(self) -> Task | None:
        """None if it is a text."""

    @property
    def sha256(self) -> str:
        """Of all that is read: the same where the same is learned from."""

    @property
    def valid(self) -> Scorable: ...

    @property
    def test(self) -> Scorable: ...

    def split(self, name: str) -> Scorable:
        """By its name. Raises: ConfigError if there is none of that name."""

    def training(self, batch_size: int, shard: tuple[int, int], device: torch.device) -> Reader:
        """What is trained on, as rank shard[0] of shard[1] reads it. Raises: ConfigError, DataError if it cannot."""

    def unseen(self) -> Tensor:
        """bool (V,): tokens that training never asks for."""

    def verify_content(self) -> None:
        """Raises: DataError if it is no longer what it was."""


def counted_in(source: Source) -> str:
    """What a model reads one after the other: "bytes" of a text, "positions" of a task."""
    return "bytes" if source.task is None else "positions"

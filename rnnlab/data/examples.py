"""A task as a source: its examples in batches, drawn for training without end or out of a fixed number."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rnnlab import rng
from rnnlab.data.source import Chunk, Portion, Read
from rnnlab.errors import ConfigError
from rnnlab.registry import configurable
from rnnlab.task import Draws, Examples, Integers, Task, key_of

AnyArray = npt.NDArray[Any]

MOST_VALID = 8  # difficulties that an evaluation during training looks at
LOOKED_AT = 100_000  # examples of training that `seen` compares with
DTYPES = (np.int64, np.int64, np.float32)  # of inputs, targets and weights
FINGERPRINT = 4  # examples of each difficulty that the hash of a source covers


@configurable
@dataclass(frozen=True)
class TaskSplits:
    """How many examples of a task there are.

    Args:
        train: different ones, which are read in another order in each epoch; None for new ones at every step.
        valid: that an evaluation during training scores, over at most 8 of the difficulties that are trained on.
        test: that are scored at the end, at each difficulty.
    Raises: ConfigError for less than one.
    """

    train: int | None = None
    valid: int = 512
    test: int = 1024

    def __post_init__(self) -> None:
        for name in ("train", "valid", "test"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"TaskSplits.{name} = {value}: at least 1")


class TaskSource:
    """Three splits of one task; see `rnnlab.data.source.Source`."""

    def __init__(self, task: Task, sizes: TaskSplits, seed: int) -> None:
        """Args:
        seed: of the run, which training's examples follow.
        Raises: ConfigError if the task has no difficulty to train or to test.
        """
        self.task, self.sizes, self.seed = task, sizes, seed
        self._lengths: dict[int, int] = {}
        for side in ("trained", "tested"):
            given = getattr(task, side)
            if not given or not all(isinstance(each, int) and each > 0 for each in given):
                raise ConfigError(f"{self.name}.{side} = {given!r}: one or several whole numbers above 0 are needed")

    @property
    def name(self) -> str:
        return type(self.task).__name__

    @property
    def vocabulary(self) -> int:
        return self.task.vocabulary

    @cached_property
    def sha256(self) -> str:
        """Of a few examples of every difficulty."""
        digest = hashlib.sha256(f"{self.name} {self.vocabulary} {self.sizes.train}".encode())
        for difficulty in dict.fromkeys([*self.task.trained, *self.task.tested]):
            for part in self.make("valid", difficulty, np.arange(FINGERPRINT)):
                digest.update(np.ascontiguousarray(part, dtype="<f8").tobytes())
        return digest.hexdigest()

    @property
    def valid(self) -> "TaskSplit":
        return self.split("valid")

    @property
    def test(self) -> "TaskSplit":
        return self.split("test")

    def split(self, name: str) -> "TaskSplit":
        if name == "valid":
            spread = np.linspace(0, len(self.task.trained) - 1, min(MOST_VALID, len(self.task.trained)))
            chosen = [self.task.trained[int(i)] for i in spread.round()]
            return TaskSplit(self, name, chosen, max(1, self.sizes.valid // len(chosen)))
        if name == "test":
            return TaskSplit(self, name, self.task.tested, self.sizes.test)
        raise ConfigError(f"no split {name!r} of the task {self.name} to score; there are valid and test")

    def at(self, difficulties: Sequence[int]) -> "TaskSplit":
        """Test examples at difficulties of one's choice."""
        return TaskSplit(self, "test", difficulties, self.sizes.test)

    def make(self, split: str, difficulty: int, numbers: Integers) -> Examples:
        """Those examples of a split. Raises: ConfigError if the task does not make what it should."""
        key = rng.derive(key_of(self.seed, split), difficulty, "difficulty")
        made = self.task.examples(Draws(key, numbers), difficulty)
        made = Examples(*(np.asarray(part, dtype) for part, dtype in zip(made, DTYPES, strict=True)))
        shapes = {part.shape for part in made}
        if len(shapes) > 1 or made.inputs.ndim != 2 or len(made.inputs) != len(numbers):
            raise ConfigError(
                f"{self.name}.examples gave arrays of the shapes {', '.join(str(part.shape) for part in made)} for "
                f"{len(numbers)} draws; (N, L) three times is expected"
            )
        if not (made.weights > 0).any(axis=1).all():
            raise ConfigError(
                f"{self.name}.examples: an example of difficulty {difficulty} asks nothing: no weight > 0"
            )
        for part in (made.inputs, made.targets):
            if part.size and not (part.min() >= 0 and part.max() < self.vocabulary):
                raise ConfigError(
                    f"{self.name}.examples gave tokens from {part.min()} to {part.max()}, and vocabulary is "
                    f"{self.vocabulary}"
                )
        return made

    def length(self, difficulty: int) -> int:
        """[positions] of an example."""
        if difficulty not in self._lengths:
            self._lengths[difficulty] = self.make("valid", difficulty, np.arange(1)).inputs.shape[1]
        return self._lengths[difficulty]

    def training(self, batch_size: int, shard: tuple[int, int], device: torch.device) -> "TrainingExamples":
        return TrainingExamples(self, batch_size, shard, device)

    def unseen(self) -> Tensor:
        asked = torch.zeros(self.vocabulary, dtype=torch.bool)
        for difficulty in self.task.trained:
            made = self.make("valid", difficulty, np.arange(max(1, 4096 // len(self.task.trained))))
            asked[torch.from_numpy(made.targets[made.weights > 0])] = True
        return ~asked

    def seen(self, split: "TaskSplit", batch_size: int, readings: int) -> dict[int, float]:
        """{difficulty: share of the split's examples that were among the first readings of training} [fraction]."""
        trained = self.training(batch_size, (0, 1), torch.device("cpu"))
        read: dict[int, set[bytes]] = {}
        for reading in range(min(readings, LOOKED_AT // batch_size + 1)):
            difficulty, numbers = trained.drawn(reading)
            if difficulty in split.difficulties:
                inputs = self.make("train", difficulty, numbers).inputs
                read.setdefault(difficulty, set()).update(row.tobytes() for row in inputs)
        shares = {}
        for difficulty in split.difficulties:
            inputs = self.make(split.name, difficulty, np.arange(split.each)).inputs
            shares[difficulty] = sum(row.tobytes() in read.get(difficulty, ()) for row in inputs) / split.each
        return shares

    def verify_content(self) -> None:
        """Nothing can have changed: examples are made by the code that runs."""


class _ExampleReader:
    """What both sorts of batches share: the one that is being read is made once."""

    difficulties: Sequence[int]

    def __init__(self, source: TaskSource, split: str, device: torch.device) -> None:
        self._source, self._split, self._device = source, split, device
        self._made: tuple[int, Examples] | None = None

    def drawn(self, reading: int) -> tuple[int, Integers]:
        """(difficulty, numbers of the examples) of a batch."""
        raise NotImplementedError

    def own(self, examples: AnyArray) -> AnyArray:
        """Of a batch (N, L), what this process reads."""
        return examples

    def positions(self, reading: int) -> int:
        return self._source.length(self.drawn(reading)[0])

    def mean_chunk(self, bptt: int) -> float:
        """Over the difficulties, which come equally often."""
        lengths = [self._source.length(difficulty) for difficulty in self.difficulties]
        return float(np.mean([length / -(-length // bptt) for length in lengths]))

    def _batch(self, reading: int) -> Examples:
        if self._made is None or self._made[0] != reading:
            self._made = reading, self._source.make(self._split, *self.drawn(reading))
        return self._made[1]

    def weight(self, chunk: Chunk) -> float:
        weights = self._batch(chunk.reading).weights[:, chunk.position : chunk.position + chunk.length]
        return float(weights.sum(dtype=np.float64))

    def read(self, chunk: Chunk) -> Read:
        batch = self._batch(chunk.reading)
        stretch = slice(chunk.position, chunk.position + chunk.length)
        inputs, targets, weights = (np.ascontiguousarray(self.own(part)[:, stretch].T) for part in batch)
        return Read(*(torch.from_numpy(part) for part in (inputs, targets, weights))).to(self._device)

    def held(self) -> Sequence[Tensor]:
        return ()


class TrainingExamples(_ExampleReader):
    """Batch after batch, each of one difficulty that is drawn evenly. Which examples stand in it follows from the run's
    seed and the number of the batch alone."""

    def __init__(self, source: TaskSource, batch_size: int, shard: tuple[int, int], device: torch.device) -> None:
        """Raises: ConfigError if the ranks cannot share the batch, or there are not enough examples for one."""
        super().__init__(source, "train", device)
        rank, ranks = shard
        if batch_size < 1 or batch_size % ranks:
            raise ConfigError(
                f"{batch_size} examples cannot be shared evenly by {ranks} ranks; take a positive multiple of {ranks}"
            )
        self.batch_size, self.count = batch_size, batch_size // ranks
        self.first = rank * self.count
        self.difficulties = list(source.task.trained)
        self._each: int | None = None
        if source.sizes.train is not None:
            self._each = source.sizes.train // len(self.difficulties) // batch_size  # batches of a difficulty
            if self._each == 0:
                raise ConfigError(
                    f"TaskSplits.train = {source.sizes.train}: too few for a batch of {batch_size} at each of the "
                    f"{len(self.difficulties)} difficulties of {source.name}; take more, or a smaller batch"
                )
        self._epoch: tuple[int, list[tuple[int, Integers]]] | None = None

    @property
    def epoch(self) -> int | None:
        if self._each is None:
            return None
        return self._each * self.batch_size * sum(self._source.length(each) for each in self.difficulties)

    def drawn(self, reading: int) -> tuple[int, Integers]:
        if self._each is None:
            place = rng.derive(self._source.seed, reading, "difficulty") % len(self.difficulties)
            return self.difficulties[place], np.arange(reading * self.batch_size, (reading + 1) * self.batch_size)
        epoch, place = divmod(reading, self._each * len(self.difficulties))
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, list(self._shuffled(self._each, epoch))
        return self._epoch[1][place]

    def _shuffled(self, each: int, epoch: int) -> Iterator[tuple[int, Integers]]:
        """The batches of an epoch: every example once, but for those of a difficulty that fill no batch."""
        draws = Draws(rng.derive(self._source.seed, 0, "order"), np.array([epoch]))
        numbers = {
            difficulty: np.argsort(draws.uniform(each * self.batch_size)[0], kind="stable").reshape(each, -1)
            for difficulty in self.difficulties
        }
        for place in np.argsort(draws.uniform(each * len(numbers))[0], kind="stable"):
            difficulty = self.difficulties[place % len(numbers)]
            yield difficulty, numbers[difficulty][place // len(numbers)]

    def own(self, examples: AnyArray) -> AnyArray:
        return examples[self.first : self.first + self.count]


class ScoredExamples(_ExampleReader):
    """The examples of one difficulty, in order; the last batch may be smaller."""

    first = 0

    def __init__(
        self, source: TaskSource, split: str, difficulty: int, each: int, batch_size: int, device: torch.device
    ) -> None:
        super().__init__(source, split, device)
        self.difficulties, self._each, self.count = [difficulty], each, batch_size

    @property
    def epoch(self) -> int:
        return self._each * self._source.length(self.difficulties[0])

    def drawn(self, reading: int) -> tuple[int, Integers]:
        return self.difficulties[0], np.arange(reading * self.count, min((reading + 1) * self.count, self._each))


@dataclass(frozen=True)
class TaskSplit:
    """As many examples at each of some difficulties; see `rnnlab.data.source.Scorable`."""

    source: TaskSource
    name: str
    difficulties: Sequence[int]
    each: int  # examples of a difficulty

    def __len__(self) -> int:
        return self.each * sum(self.source.length(difficulty) for difficulty in self.difficulties)

    def cut(self, limit: int | None) -> "TaskSplit":
        """As many examples as about `limit` positions hold, as many at each difficulty and at least one."""
        if limit is None or limit >= len(self):
            return self
        return TaskSplit(self.source, self.name, self.difficulties, max(1, self.each * limit // len(self)))

    def parts(self, batch_size: int, limit: int | None, device: torch.device) -> Sequence[Portion]:
        each, task = self.cut(limit).each, self.source.task
        readings = range(-(-each // batch_size))
        return [
            Portion(
                ScoredExamples(self.source, self.name, difficulty, each, batch_size, device),
                readings, difficulty, task.chance(difficulty), task.judged,
            )
            for difficulty in self.difficulties
        ]  # fmt: skip

    def scored(self, batch_size: int, limit: int | None) -> dict[str, int]:
        cut = self.cut(limit)
        examples = cut.each * len(cut.difficulties)
        if self.source.task.judged == "last":
            return {"examples": examples, "answers": examples}
        made = (self.source.make(self.name, each, np.arange(cut.each)) for each in cut.difficulties)
        return {"examples": examples, "answers": sum(int((one.weights > 0).sum()) for one in made)}

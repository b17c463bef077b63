"""The examples of a task in batches: for training without end or out of a fixed number, and in order to be scored."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rnnlab import rng
from rnnlab.data.source import Chunk, Read
from rnnlab.errors import ConfigError
from rnnlab.task import Draws, Examples, Integers, Task, key_of

AnyArray = npt.NDArray[Any]

DTYPES = (np.int64, np.int64, np.float32)  # of inputs, targets and weights


class ExampleMaker:
    """Makes the examples of a task as a run of one seed reads them."""

    def __init__(self, task: Task, seed: int) -> None:
        """Args:
        seed: of the run, which training's examples follow.
        """
        self.task, self.seed = task, seed
        self._lengths: dict[int, int] = {}

    @property
    def name(self) -> str:
        return type(self.task).__name__

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
            if part.size and not (part.min() >= 0 and part.max() < self.task.vocabulary):
                raise ConfigError(
                    f"{self.name}.examples gave tokens from {part.min()} to {part.max()}, and vocabulary is "
                    f"{self.task.vocabulary}"
                )
        return made

    def length(self, difficulty: int) -> int:
        """[positions] of an example."""
        if difficulty not in self._lengths:
            self._lengths[difficulty] = self.make("valid", difficulty, np.arange(1)).inputs.shape[1]
        return self._lengths[difficulty]


class _ExampleReader:
    """What both sorts of batches share: the one that is being read is made once."""

    difficulties: Sequence[int]

    def __init__(self, maker: ExampleMaker, split: str, device: torch.device) -> None:
        self._maker, self._split, self._device = maker, split, device
        self._made: tuple[int, Examples] | None = None

    def drawn(self, reading: int) -> tuple[int, Integers]:
        """(difficulty, numbers of the examples) of a batch."""
        raise NotImplementedError

    def own(self, examples: AnyArray) -> AnyArray:
        """Of a batch (N, L), what this process reads."""
        return examples

    def positions(self, reading: int) -> int:
        return self._maker.length(self.drawn(reading)[0])

    def mean_chunk(self, bptt: int) -> float:
        """Over the difficulties, which come equally often."""
        lengths = [self._maker.length(difficulty) for difficulty in self.difficulties]
        return float(np.mean([length / -(-length // bptt) for length in lengths]))

    def _batch(self, reading: int) -> Examples:
        if self._made is None or self._made[0] != reading:
            self._made = reading, self._maker.make(self._split, *self.drawn(reading))
        return self._made[1]

    def weight(self, chunk: Chunk) -> float:
        weights = self._batch(chunk.reading).weights[:, chunk.position : chunk.position + chunk.length]
        return float(weights.sum(dtype=np.float64))

    def read(self, chunk: Chunk) -> Read:
        batch = self._batch(chunk.reading)
        stretch = slice(chunk.position, chunk.position + chunk.length)
        inputs, targets, weights = (np.ascontiguousarray(self.own(part)[:, stretch].T) for part in batch)
        places = np.flatnonzero(weights)
        asked = None if places.size == weights.size else torch.from_numpy(places)
        read = Read(torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(weights), asked)
        return read.to(self._device)

    def held(self) -> Sequence[Tensor]:
        return ()


class TrainingExamples(_ExampleReader):
    """Batch after batch, each of one difficulty that is drawn evenly. Which examples stand in it follows from the run's
    seed and the number of the batch alone."""

    def __init__(
        self, maker: ExampleMaker, different: int | None, batch_size: int, shard: tuple[int, int], device: torch.device
    ) -> None:
        """Args:
        different: how many examples there are; None for new ones at every batch.
        Raises: ConfigError if the ranks cannot share the batch, or there are not enough examples for one.
        """
        super().__init__(maker, "train", device)
        rank, ranks = shard
        if batch_size < 1 or batch_size % ranks:
            raise ConfigError(
                f"{batch_size} examples cannot be shared evenly by {ranks} ranks; take a positive multiple of {ranks}"
            )
        self.batch_size, self.count = batch_size, batch_size // ranks
        self.first = rank * self.count
        self.difficulties = list(maker.task.trained)
        self._each: int | None = None
        if different is not None:
            self._each = different // len(self.difficulties) // batch_size  # batches of a difficulty
            if self._each == 0:
                raise ConfigError(
                    f"TaskSplits.train = {different}: too few for a batch of {batch_size} at each of the "
                    f"{len(self.difficulties)} difficulties of {maker.name}; take more, or a smaller batch"
                )
        self._epoch: tuple[int, list[tuple[int, Integers]]] | None = None

    @property
    def epoch(self) -> int | None:
        if self._each is None:
            return None
        return self._each * self.batch_size * sum(self._maker.length(each) for each in self.difficulties)

    def drawn(self, reading: int) -> tuple[int, Integers]:
        if self._each is None:
            place = rng.derive(self._maker.seed, reading, "difficulty") % len(self.difficulties)
            return self.difficulties[place], np.arange(reading * self.batch_size, (reading + 1) * self.batch_size)
        epoch, place = divmod(reading, self._each * len(self.difficulties))
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, list(self._shuffled(self._each, epoch))
        return self._epoch[1][place]

    def _shuffled(self, each: int, epoch: int) -> Iterator[tuple[int, Integers]]:
        """The batches of an epoch: every example once, but for those of a difficulty that fill no batch."""
        draws = Draws(rng.derive(self._maker.seed, 0, "order"), np.array([epoch]))
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
        self, maker: ExampleMaker, split: str, difficulty: int, each: int, batch_size: int, device: torch.device
    ) -> None:
        super().__init__(maker, split, device)
        self.difficulties, self._each, self.count = [difficulty], each, batch_size

    @property
    def epoch(self) -> int:
        return self._each * self._maker.length(self.difficulties[0])

    def drawn(self, reading: int) -> tuple[int, Integers]:
        return self.difficulties[0], np.arange(reading * self.count, min((reading + 1) * self.count, self._each))

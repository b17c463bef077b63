"""A task as a source: its splits, how large they are, and what of them training has seen."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rnnlab.data.examples import ExampleMaker, ScoredExamples, TrainingExamples
from rnnlab.data.source import Portion
from rnnlab.errors import ConfigError
from rnnlab.registry import configurable
from rnnlab.task import Task

MOST_VALID = 8  # difficulties that an evaluation during training looks at
LOOKED_AT = 100_000  # examples of training that `seen` compares with
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


class TaskSource(ExampleMaker):
    """Three splits of one task; see `rnnlab.data.source.Source`."""

    def __init__(self, task: Task, sizes: TaskSplits, seed: int) -> None:
        """Args:
        seed: of the run, which training's examples follow.
        Raises: ConfigError if the task has no difficulty to train or to test.
        """
        super().__init__(task, seed)
        self.sizes = sizes
        for side in ("trained", "tested"):
            given = getattr(task, side)
            if not given or not all(isinstance(each, int) and each > 0 for each in given):
                raise ConfigError(f"{self.name}.{side} = {given!r}: one or several whole numbers above 0 are needed")

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

    def training(self, batch_size: int, shard: tuple[int, int], device: torch.device) -> "TrainingExamples":
        return TrainingExamples(self, self.sizes.train, batch_size, shard, device)

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

"""Runs on tasks of about a second, and a task whose every number can be worked out by hand."""

from pathlib import Path
from typing import Any

import numpy as np

from rnnlab import api, config
from rnnlab.data.task_source import TaskSource, TaskSplits
from rnnlab.task import Draws, Examples, Integers, Task, asked_at
from rnnlab.training import experiment
from rnnlab.training.learner import Learner

FRAGMENTS = ["sha_rnn", "size/tiny"]
BINDINGS = [
    "Trainer.source = @task.Parity",
    "Parity.shortest = 3",
    "Parity.longest = 12",
    "Parity.test = [12, 20]",
    "TaskSplits.valid = 32",
    "TaskSplits.test = 24",
    "LanguageModel.dim = 16",
    "memory = 6",
    "dropout = 0.1",
    "Trainer.batch_size = 8",
    "Trainer.bptt = 32",
    "Trainer.eval_bptt = 16",
    "Trainer.steps = 20",
    "Trainer.log_every = 1",
    "Trainer.save_every = 7",
    "Trainer.threads = 1",
    "Cosine.warmup = 2",
]


def bindings(*more: str) -> list[str]:
    """More bindings win over those that every such run has."""
    replaced = {line.partition(" = ")[0] for line in more}
    if "LanguageModel.blocks = [@Block, @Block]" in more:
        replaced.add("memory")  # nothing attends
    if "Trainer.source" in replaced:
        replaced |= {line.partition(" = ")[0] for line in BINDINGS if line.startswith("Parity.")}
    return [*(line for line in BINDINGS if line.partition(" = ")[0] not in replaced), *more]


def train(run: Path, *more: str) -> dict[str, Any]:
    return api.train(FRAGMENTS, bindings(*more), run=run)


def learner(*more: str) -> Learner:
    return Learner(experiment.build(config.resolve(FRAGMENTS, bindings(*more))))


class Echo(Task):
    """Say again the token before, asked at the last two positions; of so many tokens as the difficulty says."""

    difficulty = "length"

    def __init__(self, trained: tuple[int, ...] = (3, 5), tested: tuple[int, ...] = (5, 8)) -> None:
        self.vocabulary, self.trained, self.tested = 7, trained, tested

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        tokens = draws.integers(self.vocabulary, difficulty)
        return Examples(tokens, self.oracle(tokens, difficulty), asked_at(tokens, slice(-2, None)))

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        return np.roll(inputs, 1, axis=1)

    def chance(self, difficulty: int) -> float:
        return 1 / self.vocabulary


def source(task: Task | None = None, seed: int = 1, **sizes: Any) -> TaskSource:
    return TaskSource(Echo() if task is None else task, TaskSplits(**sizes), seed)

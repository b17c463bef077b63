"""A task under test: how its laws build it and draw its examples."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

import numpy as np

from rnnlab.errors import LawError
from rnnlab.task import Draws, Examples, Integers, Task, key_of
from rnnlab.testing.law import Book, PartFactory

TaskFactory: TypeAlias = Callable[[], Task]
"""What the laws of tasks take: a class, a `functools.partial` or any function, called `part()`."""

MOST_DIFFICULTIES = 64
"""Of a task with more of them, as many are tried, the least and the greatest among them."""


@dataclass(frozen=True)
class TaskSubject:
    """A task and the seed of the run that would train on it."""

    part: TaskFactory
    seed: int = 0

    def __str__(self) -> str:
        return f"seed={self.seed}"

    def build(self) -> Task:
        """The task as its constructor makes it."""
        try:
            task = self.part()
        except Exception as error:
            raise LawError(f"it cannot be built: {type(error).__name__}: {error} ({self})") from error
        if not isinstance(task, Task):
            raise LawError(f"it is a {type(task).__name__}; a task is a subclass of rnnlab.task.Task ({self})")
        return task

    @functools.cached_property
    def task(self) -> Task:
        return self.build()

    @functools.cached_property
    def difficulties(self) -> list[int]:
        """Those that are trained or tested, from the least to the greatest, `MOST_DIFFICULTIES` of them at most."""
        return spread(sorted({*self.declared("trained"), *self.declared("tested")}), MOST_DIFFICULTIES)

    def declared(self, name: str) -> list[int]:
        """`trained` or `tested` of the task. Raises: LawError unless they are some positive ints."""
        declared = getattr(self.task, name, None)
        are_ints = isinstance(declared, Sequence) and all(type(difficulty) is int for difficulty in declared)
        if not (are_ints and declared and min(declared) > 0):
            self.refuse(f"{name} is {declared!r}; it is a sequence of positive ints with one in it at least")
        return list(declared)

    def draw(self, difficulty: int, numbers: Sequence[int] | Integers, split: str = "train") -> Examples:
        """The examples of these numbers."""
        return self.task.examples(self.draws(numbers, split), difficulty)

    def draws(self, numbers: Sequence[int] | Integers, split: str = "train") -> Draws:
        """What the examples of these numbers draw from in a split."""
        return Draws(key_of(self.seed, split), np.asarray(numbers, dtype=np.int64))

    def affordable(self, positions: int, difficulties: Sequence[int], most: int) -> int:
        """How many examples of each difficulty make about that many positions, 64 at least and `most` at most."""
        longest = sum(self.draw(difficulty, [0]).inputs.shape[1] for difficulty in difficulties)
        return int(min(max(64, positions // longest), most))

    def refuse(self, violation: str, difficulty: int | None = None) -> NoReturn:
        """Raises: LawError with the violation and the case."""
        case = str(self) if difficulty is None else f"difficulty={difficulty}, {self}"
        raise LawError(f"{violation} ({case})")


def spread(difficulties: Sequence[int], most: int) -> list[int]:
    """All of them, or `most` at even distances with the first and the last among them."""
    if len(difficulties) <= most:
        return list(difficulties)
    return [difficulties[place] for place in np.linspace(0, len(difficulties) - 1, most).round().astype(int)]


def is_task(part: PartFactory) -> bool:
    """Whether it is a class of tasks, or a `functools.partial` of one."""
    built = getattr(part, "func", part)
    return inspect.isclass(built) and issubclass(built, Task)


def _subjects(part: TaskFactory, kind: str, seed: int = 0) -> list[TaskSubject]:
    return [TaskSubject(part, seed)]


law = Book(_subjects).law

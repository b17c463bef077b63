"""Examples as the tests of tasks draw them."""

import numpy as np

from rnnlab.task import Draws, Examples, Integers, Task


def drawn(task: Task, difficulty: int, count: int = 200, key: int = 7) -> Examples:
    return task.examples(Draws(key, np.arange(count)), difficulty)


def asked(task: Task, examples: Examples, answers: Integers) -> list[list[int]]:
    """Of each example the answers at the positions where something is asked, from left to right."""
    return [row[weights > 0].tolist() for row, weights in zip(answers, examples.weights, strict=True)]


def tokens(*examples: str | list[int]) -> Integers:
    """One row an example: "0 1 1" or [0, 1, 1]."""
    return np.array([row.split() if isinstance(row, str) else row for row in examples]).astype(np.int64)

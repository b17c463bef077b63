"""Honest tasks that mutants are made from."""

from collections.abc import Sequence

import numpy as np

from rnnlab.task import Draws, Examples, Integers, Task, asked_at


class LastIsFirst(Task):
    """The first token once more, asked and judged at the last position. Tokens: four letters."""

    judged = "last"

    def __init__(self, lengths: Sequence[int] = (2, 5, 9), test: Sequence[int] = (9, 20)) -> None:
        self.vocabulary, self.trained, self.tested = 4, lengths, test

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        tokens = draws.integers(4, difficulty)
        return Examples(tokens, self.oracle(tokens, difficulty), asked_at(tokens, slice(-1, None)))

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        return np.repeat(inputs[:, :1], inputs.shape[1], axis=1)

    def chance(self, difficulty: int) -> float:
        return 0.25


class Lookup(Task):
    """The value that stood after this key, then a blank. Tokens: 0 the blank, 1 to 8 the keys, 9 to 16 the values."""

    difficulty = "pairs"

    def __init__(self, pairs: Sequence[int] = (1, 3), test: Sequence[int] = (3, 8)) -> None:
        self.vocabulary, self.trained, self.tested = 17, pairs, test

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        inputs = np.zeros((len(draws), 2 * difficulty + 2), dtype=np.int64)
        inputs[:, :-2:2] = keys = 1 + draws.choice(difficulty, 8)
        inputs[:, 1:-2:2] = 9 + draws.integers(8, difficulty)
        inputs[:, -2] = np.take_along_axis(keys, draws.integers(difficulty, 1), axis=1)[:, 0]
        return Examples(inputs, self.oracle(inputs, difficulty), asked_at(inputs, slice(-2, -1)))

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        answers = np.zeros_like(inputs)
        place = (inputs[:, :-2:2] == inputs[:, -2:-1]).argmax(axis=1)
        answers[:, -2] = np.take_along_axis(inputs[:, 1:-2:2], place[:, None], axis=1)[:, 0]
        return answers

    def chance(self, difficulty: int) -> float:
        return 1 / 8

"""A task of one's own: which of two tokens came more often."""

from collections.abc import Sequence
from math import comb

import numpy as np

from rnnlab.errors import ConfigError
from rnnlab.registry import register
from rnnlab.task import Draws, Examples, Integers, Task, asked_at


@register("task")
class Majority(Task):
    """Which token most of the string so far is, asked at every odd length and judged at the last.

    Source: this example.
    Tokens: 0 and 1, of the string and of the answers.
    Args:
        lengths: lengths that are trained on, all of them odd [positions].
        test: lengths that are tested, all of them odd [positions].
    Raises: ConfigError if a length is even: it may have no majority.
    """

    difficulty = "length"
    judged = "last"

    def __init__(self, lengths: Sequence[int] = range(3, 40, 2), test: Sequence[int] = (39, 65, 129, 257)) -> None:
        for length in (*lengths, *test):
            if length % 2 == 0:
                raise ConfigError(f"Majority of length {length}: name odd lengths, an even one may have no majority")
        self.vocabulary, self.trained, self.tested = 2, lengths, test

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        bits = draws.integers(2, difficulty)
        return Examples(bits, self.oracle(bits, difficulty), asked_at(bits, slice(0, None, 2)))

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        ones = np.cumsum(inputs, axis=1)
        return (2 * ones > np.arange(1, difficulty + 1)).astype(np.int64)

    def chance(self, difficulty: int) -> float:
        return 0.5

    def chance_by_token(self, difficulty: int) -> float:
        """The last token is the majority where the others are even as well [fraction]."""
        others = difficulty - 1
        return 0.5 + comb(others, others // 2) / 2**difficulty

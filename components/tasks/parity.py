"""Parity."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from rnnlab.errors import ConfigError
from rnnlab.registry import register
from rnnlab.task import Draws, Examples, Integers, Task, asked_at, difficulties, span

ASKED = {"every": slice(None), "last": slice(-1, None)}


@register("task")
class Parity(Task):
    """Whether the number of ones so far is odd, judged at the last position.

    Source: Grazzi et al. 2024, arXiv:2411.12537: no linear recurrence whose gates lie in [0, 1] computes it at every
    length; lengths as in the xLSTM's experiment (Beck et al. 2024, arXiv:2405.04517).
    Tokens: 0 and 1, of the string and of the answers.
    Args:
        shortest, longest: lengths that are trained on, with those between [positions].
        test: lengths that are tested [positions].
        asked: the answer at "every" position, or at the "last" alone, from which it is learned far more slowly.
    Raises: ConfigError unless 1 <= shortest <= longest, each of test is at least 1, and asked is one of the two.
    """

    judged = "last"

    def __init__(
        self,
        shortest: int = 3,
        longest: int = 40,
        test: Sequence[int] = (40, 64, 128, 256),
        asked: Literal["every", "last"] = "every",
    ) -> None:
        if asked not in ASKED:
            raise ConfigError(f"Parity.asked = {asked!r}: one of {', '.join(map(repr, ASKED))}")
        self._asked = ASKED[asked]
        self.vocabulary, self.trained = 2, span("Parity", shortest, longest)
        self.tested = difficulties("Parity", "test", test)

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        bits = draws.integers(2, difficulty)
        return Examples(bits, self.oracle(bits, difficulty), asked_at(bits, self._asked))

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        return np.cumsum(inputs, axis=1) % 2

    def chance(self, difficulty: int) -> float:
        return 0.5

    def chance_by_token(self, difficulty: int) -> float:
        return 1.0 if difficulty == 1 else self.chance(difficulty)  # the first answer is the token itself

"""A sum modulo m."""

from collections.abc import Sequence

import numpy as np

from rnnlab.registry import register
from rnnlab.task import Draws, Examples, Integers, Task, asked_at, difficulties, span, within


@register("task")
class ModularSum(Task):
    """The sum so far modulo m, asked at every position and judged at the last.

    Source: Grazzi et al. 2024, arXiv:2411.12537, on what a linear recurrence needs for it; Parity is modulus 2.
    Tokens: 0 to m - 1, the numbers that are added and the answers.
    Args:
        modulus: m.
        shortest, longest: lengths that are trained on, with those between [positions].
        test: lengths that are tested [positions].
    Raises: ConfigError unless modulus >= 2, 1 <= shortest <= longest and each of test is at least 1.
    """

    judged = "last"

    def __init__(
        self, modulus: int = 5, shortest: int = 3, longest: int = 40, test: Sequence[int] = (40, 64, 128, 256)
    ) -> None:
        self.vocabulary = within("ModularSum", "modulus", modulus, least=2)
        self.trained, self.tested = span("ModularSum", shortest, longest), difficulties("ModularSum", "test", test)

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        numbers = draws.integers(self.vocabulary, difficulty)
        return Examples(numbers, self.oracle(numbers, difficulty), asked_at(numbers, slice(None)))

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        return np.cumsum(inputs, axis=1) % self.vocabulary

    def chance(self, difficulty: int) -> float:
        return 1.0 / self.vocabulary

    def chance_by_token(self, difficulty: int) -> float:
        return 1.0 if difficulty == 1 else self.chance(difficulty)  # the first answer is the token itself

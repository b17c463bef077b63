"""Copying a string."""

from collections.abc import Sequence

import numpy as np

from rnnlab.registry import register
from rnnlab.task import Draws, Examples, Integers, Task, asked_at, difficulties, span, within

MARKER = 0


@register("task")
class Copy(Task):
    """The whole string again behind a marker, where each answer is read before the next one is asked.

    Source: Jelassi et al. 2024, arXiv:2402.01032, section 3.
    Tokens: 0 the marker, then the symbols. Of the string abc an example reads a b c 0 a b, asked are a b c at 0 a b.
    Args:
        symbols: different ones there are.
        shortest, longest: lengths of the string that are trained on, with those between; an example has twice as many
            positions [positions].
        test: lengths that are tested [positions].
    Raises: ConfigError unless symbols >= 1, 1 <= shortest <= longest and each of test is at least 1.
    """

    def __init__(
        self, symbols: int = 16, shortest: int = 4, longest: int = 32, test: Sequence[int] = (32, 64, 128)
    ) -> None:
        self.symbols = within("Copy", "symbols", symbols, least=1)
        self.vocabulary = symbols + 1
        self.trained, self.tested = span("Copy", shortest, longest), difficulties("Copy", "test", test)

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        string = 1 + draws.integers(self.symbols, difficulty)
        marker = np.full((len(draws), 1), MARKER)
        inputs = np.concatenate([string, marker, string[:, :-1]], axis=1)
        targets = np.concatenate([np.zeros_like(string), string], axis=1)
        return Examples(inputs, targets, asked_at(inputs, slice(difficulty, None)))

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        return np.where(np.arange(inputs.shape[1]) < difficulty, 0, np.roll(inputs, difficulty, axis=1))

    def chance(self, difficulty: int) -> float:
        return 1.0 / self.symbols

"""The induction head's task."""

from collections.abc import Sequence

import numpy as np

from rnnlab.registry import register
from rnnlab.task import Draws, Examples, Integers, Task, asked_at, difficulties, span, within


@register("task")
class Induction(Task):
    """What followed the trigger: it comes once among random symbols, and again behind them, where that is asked.

    Source: Olsson et al. 2022, arXiv:2209.11895, for the head; Akyürek et al. 2024, arXiv:2401.12973, and its code
        (berlino/seq_icl, one trigger) for the setting.
    Tokens: 0 to symbols - 1 the symbols, then the trigger. Vocabulary 16 there is 14 symbols, trigger, one without use.
    Args:
        symbols: different ones there are.
        shortest, longest: lengths that are trained on, with those between; the last trigger is not counted [positions].
        test: lengths that are tested [positions].
    Raises: ConfigError unless symbols >= 2, 3 <= shortest <= longest and each of test is at least 3.
    """

    def __init__(
        self, symbols: int = 14, shortest: int = 8, longest: int = 64, test: Sequence[int] = (64, 128, 256)
    ) -> None:
        self.symbols = within("Induction", "symbols", symbols, least=2)
        self.vocabulary = symbols + 1
        self.trained = span("Induction", shortest, longest, least=3)
        self.tested = self._checked(test)

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        self._checked([difficulty])
        inputs = draws.integers(self.symbols, difficulty + 1)
        first = draws.integers(difficulty - 2, 1)
        targets = np.zeros_like(inputs)
        targets[:, -1:] = np.take_along_axis(inputs, first + 1, axis=1)
        np.put_along_axis(inputs, first, self.symbols, axis=1)
        inputs[:, -1] = self.symbols
        return Examples(inputs, targets, asked_at(inputs, slice(-1, None)))

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        answers = np.zeros_like(inputs)
        first = (inputs == self.symbols).argmax(axis=1)
        answers[:, -1] = np.roll(inputs, -1, axis=1)[np.arange(len(inputs)), first]
        return answers

    def chance(self, difficulty: int) -> float:
        return 1.0 / self.symbols

    def _checked(self, lengths: Sequence[int]) -> tuple[int, ...]:
        return difficulties("Induction", "test", lengths, least=3, why="for a trigger and two symbols behind it")

"""Selective copying."""

from collections.abc import Sequence

import numpy as np

from rnnlab.registry import register
from rnnlab.task import Draws, Examples, Integers, Task, asked_at, difficulties, within

BLANK, MARKER, SYMBOLS = 0, 1, 2
"""Tokens; the symbols begin with the third."""


@register("task")
class SelectiveCopy(Task):
    """The symbols that lie scattered among blanks, asked in their order at as many markers behind.

    Source: Gu & Dao 2023, arXiv:2312.00752, section 3.1; Poli et al. 2024, arXiv:2403.17844 (MAD).
    Tokens: 0 the blank, 1 the marker, then the symbols. A vocabulary of 8 is symbols 6, one of 16 symbols 14.
    Args:
        tokens: symbols that are copied.
        lengths: of the part with the blanks, the symbols in it, that are trained on [positions]; an example has as many
            markers as tokens beside. MAD's length 256 of 16 tokens counts both, and one marker more: 239 here.
        test: lengths that are tested [positions].
        symbols: different ones there are.
    Raises: ConfigError unless tokens and symbols are at least 1, and lengths and test at least tokens.
    """

    def __init__(
        self,
        tokens: int = 4,
        lengths: Sequence[int] = (32,),
        test: Sequence[int] = (32, 64, 128),
        symbols: int = 6,
    ) -> None:
        self.tokens = within("SelectiveCopy", "tokens", tokens, least=1)
        self.symbols = within("SelectiveCopy", "symbols", symbols, least=1)
        self.vocabulary = SYMBOLS + symbols
        self.trained, self.tested = self._checked("lengths", lengths), self._checked("test", test)

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        self._checked("lengths", [difficulty])
        symbols = SYMBOLS + draws.integers(self.symbols, self.tokens)
        places = np.sort(draws.choice(self.tokens, difficulty), axis=1)
        inputs = np.full((len(draws), difficulty + self.tokens), BLANK, dtype=np.int64)
        np.put_along_axis(inputs, places, symbols, axis=1)
        inputs[:, difficulty:] = MARKER
        targets = np.zeros_like(inputs)
        targets[:, difficulty:] = symbols
        return Examples(inputs, targets, asked_at(inputs, slice(difficulty, None)))

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        answers = np.zeros_like(inputs)
        symbols_first = np.argsort(inputs < SYMBOLS, axis=1, kind="stable")  # from left to right
        answers[:, difficulty:] = np.take_along_axis(inputs, symbols_first[:, : self.tokens], axis=1)
        return answers

    def chance(self, difficulty: int) -> float:
        return 1.0 / self.symbols

    def _checked(self, name: str, lengths: Sequence[int]) -> tuple[int, ...]:
        return difficulties("SelectiveCopy", name, lengths, least=self.tokens, why="as many as SelectiveCopy.tokens")

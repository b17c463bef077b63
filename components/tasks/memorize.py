"""Facts that are the same in every example."""

from collections.abc import Sequence

import numpy as np

from rnnlab.registry import register
from rnnlab.task import Draws, Examples, Integers, Task, difficulties, within

FACTS = 0x6D656D6F72697A65
"""The key of the draw that says which value goes with which key, in every run alike."""


@register("task")
class Memorize(Task):
    """The value of the key before, by a table that is never shown and the same in every example: MAD's setting.

    Source: Poli et al. 2024, arXiv:2403.17844, section 3, and its code (athms/mad-lab, memorization).
    Tokens: (V - 1) // 2 keys, then the values, as many and for even V one without use; V - 1 is the question behind
        each key. Vocabulary 256 is 127 pairs.
    Args:
        vocabulary: V.
        lengths: that are trained on; a key and a question alternate [positions].
        test: lengths that are tested [positions].
    Raises: ConfigError unless vocabulary is at least 5, and lengths and test at least 2.
    Differs: which value goes with which key is drawn anew; TaskSplits.train = 256 for its number of examples.
    """

    def __init__(self, vocabulary: int = 256, lengths: Sequence[int] = (32,), test: Sequence[int] = (32, 64)) -> None:
        self.vocabulary = within("Memorize", "vocabulary", vocabulary, least=5)
        self.pairs = (vocabulary - 1) // 2
        self.table = self.pairs + Draws(FACTS, np.zeros(1, dtype=np.int64)).choice(self.pairs, self.pairs)[0]
        self.trained, self.tested = self._checked("lengths", lengths), self._checked("test", test)

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        self._checked("lengths", [difficulty])
        inputs = np.full((len(draws), difficulty), self.vocabulary - 1)
        inputs[:, 0::2] = draws.integers(self.pairs, (difficulty + 1) // 2)
        asked = np.arange(difficulty) % 2 == 1
        weights = np.broadcast_to(asked, inputs.shape).astype(np.float32)
        return Examples(inputs, self.oracle(inputs, difficulty), weights)

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        answers = np.zeros_like(inputs)
        answers[:, 1::2] = self.table[inputs[:, : difficulty // 2 * 2 : 2]]
        return answers

    def chance(self, difficulty: int) -> float:
        return 1.0 / self.pairs

    def _checked(self, name: str, lengths: Sequence[int]) -> tuple[int, ...]:
        return difficulties("Memorize", name, lengths, least=2, why="a key and its question")

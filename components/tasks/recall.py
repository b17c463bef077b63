"""Associative recall."""

from collections.abc import Sequence

import numpy as np

from rnnlab.registry import register
from rnnlab.task import Draws, Examples, Integers, Task, asked_at, difficulties, within


@register("task")
class Recall(Task):
    """The value that went with this key: pairs, then each of their keys again, in another order.

    Source: Arora et al. 2023, arXiv:2312.04927, section 3 (multi-query associative recall); MQAR is their own setting.
    Tokens: 0 to keys - 1 the keys, then the values, then the filler if there is a gap.
    Args:
        pairs: numbers of pairs that are trained on; an example has 3 pairs + gap positions.
        test: numbers of pairs that are tested.
        keys: different keys there are; those of an example differ.
        values: different values there are; those of an example may be alike.
        gap: filler between the pairs and the first question [positions].
    Raises: ConfigError unless keys and values are at least 1, gap at least 0, and pairs and test from 1 to keys.
    """

    difficulty = "pairs"

    def __init__(
        self,
        pairs: Sequence[int] = (8,),
        test: Sequence[int] = (8, 12, 16),
        keys: int = 16,
        values: int = 16,
        gap: int = 0,
    ) -> None:
        self.keys, self.values = within("Recall", "keys", keys, least=1), within("Recall", "values", values, least=1)
        self.gap = within("Recall", "gap", gap, least=0)
        self.vocabulary = keys + values + (gap > 0)
        self.trained, self.tested = self._checked("pairs", pairs), self._checked("test", test)

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        self._checked("pairs", [difficulty])
        keys = draws.choice(difficulty, self.keys)
        values = self.keys + draws.integers(self.values, difficulty)
        order = draws.choice(difficulty, difficulty)
        inputs = np.full((len(draws), 3 * difficulty + self.gap), self.keys + self.values)
        inputs[:, 0 : 2 * difficulty : 2], inputs[:, 1 : 2 * difficulty : 2] = keys, values
        inputs[:, -difficulty:] = np.take_along_axis(keys, order, axis=1)
        targets = np.zeros_like(inputs)
        targets[:, -difficulty:] = np.take_along_axis(values, order, axis=1)
        return Examples(inputs, targets, asked_at(inputs, slice(-difficulty, None)))

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        keys, values = inputs[:, 0 : 2 * difficulty : 2], inputs[:, 1 : 2 * difficulty : 2]
        place = (inputs[:, -difficulty:, None] == keys[:, None]).argmax(axis=2)
        answers = np.zeros_like(inputs)
        answers[:, -difficulty:] = np.take_along_axis(values, place, axis=1)
        return answers

    def chance(self, difficulty: int) -> float:
        return 1.0 / self.values

    def _checked(self, name: str, pairs: Sequence[int]) -> tuple[int, ...]:
        return difficulties("Recall", name, pairs, most=self.keys, why="as there are no more Recall.keys")

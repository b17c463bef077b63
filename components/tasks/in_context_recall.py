"""Associative recall as MAD sets it."""

from collections.abc import Sequence

import numpy as np

from rnnlab.registry import register
from rnnlab.task import Draws, Examples, Integers, Task, difficulties, within


@register("task")
class InContextRecall(Task):
    """The value that went with this key, asked wherever a key comes again among the pairs: MAD's setting.

    Source: Poli et al. 2024, arXiv:2403.17844, section 3, and its code (athms/mad-lab, in-context-recall, multi_query).
    Tokens: 0 to keys - 1 the keys, then the values; a key and its value alternate. Vocabulary 16 is 8 and 8.
    Args:
        lengths: that are trained on; an even one ends with a value [positions].
        test: lengths that are tested [positions].
        keys: different keys there are.
        values: different values there are; each key of an example has one, and two may have the same.
    Raises: ConfigError unless keys and values are at least 1, and lengths and test at least 3.
    Differs: the loss is on what is asked, not on every position; the last key repeats the key of an earlier pair, all
        pairs equally likely.
    """

    def __init__(
        self, lengths: Sequence[int] = (128,), test: Sequence[int] = (128, 256), keys: int = 8, values: int = 8
    ) -> None:
        self.keys = within("InContextRecall", "keys", keys, least=1)
        self.values = within("InContextRecall", "values", values, least=1)
        self.vocabulary = keys + values
        self.trained, self.tested = self._checked("lengths", lengths), self._checked("test", test)

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        self._checked("lengths", [difficulty])
        count = (difficulty + 1) // 2
        keys = draws.integers(self.keys, count)
        keys[:, -1] = np.take_along_axis(keys, draws.integers(count - 1, 1), axis=1)[:, 0]
        table = self.keys + draws.integers(self.values, self.keys)
        values = np.take_along_axis(table, keys, axis=1)
        inputs = np.empty((len(draws), difficulty), dtype=np.int64)
        inputs[:, 0::2], inputs[:, 1::2] = keys, values[:, : difficulty // 2]
        targets, weights = np.zeros_like(inputs), np.zeros(inputs.shape, dtype=np.float32)
        targets[:, 0::2] = values
        weights[:, 0::2] = np.arange(count) > self._first_places(keys)
        return Examples(inputs, targets, weights)

    def _first_places(self, keys: Integers) -> Integers:
        """Where each key came first, (N, count)."""
        count = keys.shape[1]
        first = np.zeros((len(keys), self.keys), dtype=np.int64)
        backwards = np.arange(count - 1, -1, -1)  # what is written last stays: the first place
        np.put_along_axis(first, keys[:, ::-1], np.broadcast_to(backwards, keys.shape), axis=1)
        return np.take_along_axis(first, keys, axis=1)

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        answers, rows = np.zeros_like(inputs), np.arange(len(inputs))
        known = np.zeros((len(inputs), self.vocabulary), dtype=np.int64)
        for t in range(0, inputs.shape[1], 2):
            answers[:, t] = known[rows, inputs[:, t]]
            if t + 1 < inputs.shape[1]:
                known[rows, inputs[:, t]] = inputs[:, t + 1]
        return answers

    def chance(self, difficulty: int) -> float:
        return 1.0 / self.values

    def _checked(self, name: str, lengths: Sequence[int]) -> tuple[int, ...]:
        return difficulties("InContextRecall", name, lengths, least=3, why="for a key to come again")

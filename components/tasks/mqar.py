"""Associative recall as Zoology sets it."""

from collections.abc import Sequence

import numpy as np

from rnnlab.errors import ConfigError
from rnnlab.registry import register
from rnnlab.task import Draws, Examples, Integers, Task, difficulties, within

FILLER = 0


@register("task")
class MQAR(Task):
    """The value that went with this key, the questions scattered through filler: Zoology's published setting.

    Source: Arora et al. 2023, arXiv:2312.04927, and its code (HazyResearch/zoology, random_non_queries False).
        The slots s = 1, 2, ... are every other position behind the pairs. Key after key takes one of those that are
        free, with a chance in proportion to s^(power - 1).
    Tokens: 0 the filler, then vocabulary / 2 - 1 keys, then vocabulary / 2 values.
    Args:
        pairs: numbers of pairs that are trained on; an example's keys differ, and so do its values.
        test: numbers of pairs that are tested.
        vocabulary: V, even.
        stretch: length of an example for each of its pairs [positions/pair]; the published lengths are 16 times pairs.
        power: of the distances from the pairs; 1 spreads the questions evenly.
    Raises: ConfigError unless vocabulary >= 4 is even, stretch is an even number >= 4, power > 0, and pairs and test
        are from 1 to vocabulary / 2 - 1.
    """

    difficulty = "pairs"

    def __init__(
        self,
        pairs: Sequence[int] = (4,),
        test: Sequence[int] = (4, 8, 16),
        vocabulary: int = 8192,
        stretch: int = 16,
        power: float = 0.01,
    ) -> None:
        for name, value in (("vocabulary", vocabulary), ("stretch", stretch)):
            if within("MQAR", name, value, least=4) % 2:
                raise ConfigError(f"MQAR.{name} = {value}: an even number is needed")
        if not power > 0:
            raise ConfigError(f"MQAR.power = {power}: above 0; 1 spreads the questions evenly")
        self.vocabulary, self.stretch, self.power = vocabulary, stretch, power
        self.trained, self.tested = self._checked("pairs", pairs), self._checked("test", test)

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        self._checked("pairs", [difficulty])
        half = self.vocabulary // 2
        keys, values = 1 + draws.choice(difficulty, half - 1), half + draws.choice(difficulty, half)
        inputs = np.full((len(draws), self.stretch * difficulty), FILLER, dtype=np.int64)
        inputs[:, 0 : 2 * difficulty : 2], inputs[:, 1 : 2 * difficulty : 2] = keys, values
        questions = 2 * difficulty + 2 * self._slots(draws, difficulty)
        targets, weights = np.zeros_like(inputs), np.zeros(inputs.shape, dtype=np.float32)
        np.put_along_axis(inputs, questions, keys, axis=1)
        np.put_along_axis(targets, questions, values, axis=1)
        np.put_along_axis(weights, questions, np.float32(1.0), axis=1)
        return Examples(inputs, targets, weights)

    def _slots(self, draws: Draws, difficulty: int) -> Integers:
        """Where the questions stand, (N, pairs): drawn one after the other in proportion to their weights.

        Source: Efraimidis & Spirakis 2006: the smallest of exponential variables, each divided by its weight.
        """
        slots = (self.stretch - 2) * difficulty // 2
        weight = np.arange(1, slots + 1) ** (self.power - 1.0)
        waits = -np.log1p(-draws.uniform(slots)) / weight
        return np.argsort(waits, axis=1)[:, :difficulty]

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        keys, values = inputs[:, 0 : 2 * difficulty : 2], inputs[:, 1 : 2 * difficulty : 2]
        answers = np.zeros_like(inputs)
        for key, value in zip(keys.T, values.T, strict=True):
            answers += np.where(inputs == key[:, None], value[:, None], 0)
        return answers

    def chance(self, difficulty: int) -> float:
        return 2.0 / self.vocabulary

    def _checked(self, name: str, pairs: Sequence[int]) -> tuple[int, ...]:
        why = "as there are no more keys; MQAR.vocabulary gives them"
        return difficulties("MQAR", name, pairs, most=self.vocabulary // 2 - 1, why=why)

"""Recall over a distance that is set."""

from collections.abc import Sequence

import numpy as np

from rnnlab.registry import register
from rnnlab.task import Draws, Examples, Integers, Task, asked_at, difficulties, within

FILLER, QUESTION, VALUES = 0, 1, 2
"""Tokens; the values begin with the third."""


@register("task")
class RecallAtDistance(Task):
    """The value that stood exactly d positions back, through filler: it shows how far back a model reads.

    Source: rnnlab. An attention sees memory - 1 positions back, and what a core carries on beside it.
    Tokens: 0 the filler, 1 the question, then the values. An example is filler, a value, filler, and the question last.
    Args:
        distances: from the value to the question that are trained on [positions].
        test: distances that are tested [positions]; the question of one below a memory is in reach of its attention.
        values: different values there are.
        lead: filler before the value [positions]; an example has lead + distance + 1 positions.
    Raises: ConfigError unless distances and test are at least 1, values at least 2 and lead at least 0.
    """

    difficulty = "distance"

    def __init__(
        self,
        distances: Sequence[int] = (4, 8, 12, 15, 16, 24, 32, 48, 63, 64, 96),
        test: Sequence[int] = (4, 8, 12, 15, 16, 24, 32, 48, 63, 64, 96, 128),
        values: int = 16,
        lead: int = 4,
    ) -> None:
        self.values = within("RecallAtDistance", "values", values, least=2)
        self.lead = within("RecallAtDistance", "lead", lead, least=0)
        self.vocabulary = VALUES + values
        self.trained = difficulties("RecallAtDistance", "distances", distances)
        self.tested = difficulties("RecallAtDistance", "test", test)

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        values = VALUES + draws.integers(self.values)
        inputs = np.full((len(draws), self.lead + difficulty + 1), FILLER, dtype=np.int64)
        inputs[:, self.lead], inputs[:, -1] = values, QUESTION
        targets = np.zeros_like(inputs)
        targets[:, -1] = values
        return Examples(inputs, targets, asked_at(inputs, slice(-1, None)))

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        answers = np.zeros_like(inputs)
        answers[:, -1] = inputs.max(axis=1)  # the values are the highest tokens, and one of them is there
        return answers

    def chance(self, difficulty: int) -> float:
        return 1.0 / self.values

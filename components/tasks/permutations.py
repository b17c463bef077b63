"""Products of permutations."""

import itertools
from collections.abc import Sequence

import numpy as np

from rnnlab.registry import register
from rnnlab.task import Draws, Examples, Integers, Task, asked_at, difficulties, span, within


@register("task")
class Permutations(Task):
    """The product so far of permutations, asked at every position and judged at the last.

    Source: Merrill et al. 2024, arXiv:2404.08819, section 4: the word problem of S5 is beyond models of constant depth.
        h_t(i) = x_t(h_{t-1}(i)),  h_0(i) = i
    Tokens: the permutations in the order of their lists: of 3 points 0 is 012, 1 is 021, ... 5 is 210; 012 moves none.
    Args:
        points: that are moved; 3 points have 6 permutations (S3), 5 have 120 (S5).
        shortest, longest: lengths that are trained on, with those between [positions].
        test: lengths that are tested [positions].
    Raises: ConfigError unless 2 <= points <= 5, 1 <= shortest <= longest and each of test is at least 1.
    """

    judged = "last"

    def __init__(
        self, points: int = 3, shortest: int = 3, longest: int = 40, test: Sequence[int] = (40, 64, 128, 256)
    ) -> None:
        self.points = within("Permutations", "points", points, least=2, most=5)
        self.trained, self.tested = span("Permutations", shortest, longest), difficulties("Permutations", "test", test)
        self.elements = np.array(list(itertools.permutations(range(points))), dtype=np.int64)  # (V, points)
        self.vocabulary = len(self.elements)
        self._tokens = np.zeros(points**points, dtype=np.int64)
        self._tokens[self._code(self.elements)] = np.arange(self.vocabulary)
        self._products = self._token(self.elements[:, self.elements])  # (V, V): of the second, then the first

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        inputs = draws.integers(self.vocabulary, difficulty)
        targets, step = inputs.copy(), 1
        while step < difficulty:  # a scan: each is the product of `step` tokens, then of twice as many
            targets[:, step:] = self._products[targets[:, step:], targets[:, :-step]]
            step *= 2
        return Examples(inputs, targets, asked_at(inputs, slice(None)))

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        answers, places = np.empty_like(inputs), np.tile(np.arange(self.points), (len(inputs), 1))
        for t, token in enumerate(inputs.T):  # where each point is
            places = np.take_along_axis(self.elements[token], places, axis=1)
            answers[:, t] = self._token(places)
        return answers

    def chance(self, difficulty: int) -> float:
        return 1.0 / self.vocabulary

    def chance_by_token(self, difficulty: int) -> float:
        return 1.0 if difficulty == 1 else self.chance(difficulty)  # the first answer is the token itself

    def _token(self, permutations: Integers) -> Integers:
        """(..., points) -> (...)"""
        return self._tokens[self._code(permutations)]

    def _code(self, permutations: Integers) -> Integers:
        """Each list read as the digits of a number: (..., points) -> (...)"""
        return permutations @ self.points ** np.arange(self.points)

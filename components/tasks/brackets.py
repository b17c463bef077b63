"""Nested brackets."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rnnlab.registry import register
from rnnlab.task import Draws, Examples, Integers, Task, asked_at, difficulties, span, within


@register("task")
class Brackets(Task):
    """Which bracket closes the innermost open one: asked at every position, judged at a question behind them.

    Source: Hewitt et al. 2020, arXiv:2010.07515, section 2: Dyck-(k, m), brackets of k kinds nested at most m deep.
        The depth is a random walk from 0, thrown back at 0 and at m; the kind of an opening bracket is drawn evenly.
    Tokens: 0 to k - 1 open, k to 2 k - 1 close, 2 k is the question, and the answer where nothing is open.
    Args:
        kinds: k.
        depth: m, most brackets that are open at once.
        shortest, longest: lengths that are trained on, with those between; the question is not counted [positions].
        test: lengths that are tested [positions]. They grow while the depth does not: no more has to be remembered.
    Raises: ConfigError unless kinds >= 1, 1 <= depth <= 1000, 1 <= shortest <= longest and each of test is at least 1.
    """

    judged = "last"

    def __init__(
        self,
        kinds: int = 2,
        depth: int = 6,
        shortest: int = 3,
        longest: int = 40,
        test: Sequence[int] = (40, 64, 128, 256),
    ) -> None:
        self.kinds, self.depth = (
            within("Brackets", "kinds", kinds, least=1),
            within("Brackets", "depth", depth, 1, 1000),
        )
        self.vocabulary = 2 * kinds + 1
        self.trained, self.tested = span("Brackets", shortest, longest), difficulties("Brackets", "test", test)

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        depths = self._depths(draws, difficulty)
        opens = np.diff(depths, axis=1, prepend=0) > 0
        kinds = draws.integers(self.kinds, difficulty)
        innermost = self._innermost(depths, opens, kinds)
        before = np.roll(innermost, 1, axis=1)  # the first bracket opens
        inputs = np.full((len(draws), difficulty + 1), 2 * self.kinds)
        inputs[:, :-1] = np.where(opens, kinds, self.kinds + before)
        targets = np.empty_like(inputs)
        targets[:, :-1] = self.kinds + innermost
        targets[:, -1] = targets[:, -2]
        return Examples(inputs, targets, asked_at(inputs, slice(None)))

    def _depths(self, draws: Draws, length: int) -> Integers:
        """Brackets that are open at each position (N, length): a free walk, folded at 0 and at the greatest depth."""
        walk = np.cumsum(2 * draws.integers(2, length) - 1, axis=1) % (2 * self.depth)
        return np.minimum(walk, 2 * self.depth - walk)

    def _innermost(self, depths: Integers, opens: npt.NDArray[np.bool_], kinds: Integers) -> Integers:
        """Of which kind the innermost open bracket is at each position (N, length), `self.kinds` where none is open."""
        order = np.argsort(depths.astype(np.int16), axis=1, kind="stable")  # depth after depth, each from left to right
        kinds, opens = np.take_along_axis(kinds, order, axis=1), np.take_along_axis(opens, order, axis=1)
        places = np.where(opens, np.arange(opens.shape[1]), 0)
        newest = np.maximum.accumulate(places, axis=1)  # each depth but 0 begins with a bracket that opens
        innermost = np.empty_like(kinds)
        np.put_along_axis(innermost, order, np.take_along_axis(kinds, newest, axis=1), axis=1)
        return np.where(depths > 0, innermost, self.kinds)

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        rows, depth = np.arange(len(inputs)), np.zeros(len(inputs), dtype=np.int64)
        answers, stack = np.empty_like(inputs), np.full((len(inputs), inputs.shape[1] + 1), 2 * self.kinds)
        for t, token in enumerate(inputs.T):
            opens = token < self.kinds
            depth += opens
            depth -= (token >= self.kinds) & (token < 2 * self.kinds) & (depth > 0)
            stack[rows[opens], depth[opens]] = self.kinds + token[opens]
            answers[:, t] = stack[rows, depth]
        return answers

    def chance(self, difficulty: int) -> float:
        nothing = self._nothing_open(difficulty)
        return max(nothing, (1.0 - nothing) / self.kinds)

    def _nothing_open(self, length: int) -> float:
        """The chance that the folded walk ends at 0: the free one at a multiple of twice the greatest depth."""
        if length % 2:
            return 0.0
        ends = range(-(length // (2 * self.depth)) * 2 * self.depth, length + 1, 2 * self.depth)
        return math.fsum(math.comb(length, (length + end) // 2) / 2**length for end in ends)

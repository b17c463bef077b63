"""The laws that count: they refuse no figure that is true, however the answers hang together."""

import math
from functools import partial

import numpy as np
import pytest

from rnnlab import testing
from rnnlab.errors import LawError
from rnnlab.task import Draws, Examples, Integers, Task, asked_at
from rnnlab.testing.chance import FALSE_ALARM, Tally
from tests.laws.honest_tasks import LastIsFirst, Lookup

CHANCE, OWN_TOKEN = (law for law in testing.laws("task") if law.name in ("chance", "own token"))


class OneAnswerManyTimes(Task):
    """One of many words, then blanks; asked at every blank, so the answers of an example are all right or all wrong."""

    trained = tested = (200,)

    def __init__(self, words: int = 4) -> None:
        self.vocabulary = words + 1

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        inputs = np.full((len(draws), difficulty), self.vocabulary - 1)
        inputs[:, 0] = draws.integers(self.vocabulary - 1)
        return Examples(inputs, self.oracle(inputs, difficulty), asked_at(inputs, slice(1, None)))

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        return np.repeat(inputs[:, :1], difficulty, axis=1)

    def chance(self, difficulty: int) -> float:
        return 1 / (self.vocabulary - 1)


class SeldomAsked(OneAnswerManyTimes):
    """As many blanks are asked as the word says: what is common is asked less often."""

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        inputs, targets, _ = super().examples(draws, difficulty)
        return Examples(inputs, targets, (np.arange(difficulty) <= inputs[:, :1]).astype(np.float32))

    def chance(self, difficulty: int) -> float:
        return 4 / (1 + 2 + 3 + 4)

    def chance_by_token(self, difficulty: int) -> float:
        return (4 + 3) / (1 + 2 + 3 + 4)  # right at every first position; of the 0 + 1 + 2 + 3 others 3 of one word


class Dictionary(Task):
    """Every word has one translation, and there are more words than examples: a table is all there is to know."""

    trained = tested = (8,)
    vocabulary = 30_011

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        words = draws.integers(30_011, difficulty)
        return Examples(words, self.oracle(words, difficulty), asked_at(words, slice(None)))

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        return (inputs * 7 + 3) % 30_011

    def chance(self, difficulty: int) -> float:
        return 1 / 30_011

    def chance_by_token(self, difficulty: int) -> float:
        return 1.0


class DictionaryUndeclared(Dictionary):
    def chance_by_token(self, difficulty: int) -> float:
        return self.chance(difficulty)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    "task", [OneAnswerManyTimes, partial(OneAnswerManyTimes, 8_191), SeldomAsked, Dictionary, LastIsFirst, Lookup]
)
def test_what_is_true_is_accepted_with_every_seed(task: type[Task], seed: int) -> None:
    CHANCE(task, seed=seed)
    OWN_TOKEN(task, seed=seed)


def test_a_table_that_knows_more_than_was_declared_is_found() -> None:
    CHANCE(DictionaryUndeclared)
    with pytest.raises(LawError, match=r"chance_by_token\(8\) is 3\.\d+e-05.*is right for \d\d\.\d\d% of"):
        OWN_TOKEN(DictionaryUndeclared)


class Stating(LastIsFirst):
    """What it states of itself."""

    def __init__(self, chance: object, by_token: object = 0.25) -> None:
        super().__init__()
        self.stated, self.by_token = chance, by_token

    def chance(self, difficulty: int) -> float:
        return self.stated  # type: ignore[return-value]

    def chance_by_token(self, difficulty: int) -> float:
        return self.by_token  # type: ignore[return-value]


@pytest.mark.parametrize("stated", [math.nan, -0.1, 1.5, None, 0.0, 1.0])
def test_what_is_no_accuracy_or_a_certainty_that_is_none_is_refused(stated: object) -> None:
    with pytest.raises(LawError, match=r"chance\(2\) is "):
        CHANCE(partial(Stating, stated))


def test_a_table_worth_less_than_a_constant_is_refused() -> None:
    with pytest.raises(LawError, match=r"chance_by_token is 0\.2, and chance, a table as well, 0\.25"):
        OWN_TOKEN(partial(Stating, 0.25, 0.2))


def test_a_difference_too_small_for_one_difficulty_shows_in_all_together() -> None:
    many = partial(SlightlyTooLow, lengths=range(2, 60), test=(60,))
    with pytest.raises(LawError, match=r"chance at all difficulties together is 0\.225"):
        CHANCE(many)


class SlightlyTooLow(LastIsFirst):
    def chance(self, difficulty: int) -> float:
        return 0.225


def binomial(n: int, p: float, k: int) -> float:
    return math.exp(
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
    )


@pytest.mark.parametrize(("n", "p"), [(64, 0.5), (791, 0.25), (4_096, 1 / 8_192), (4_096, 0.5), (200, 0.98)])
def test_the_bound_is_no_tighter_than_the_exact_binomial_and_not_far_from_it(n: int, p: float) -> None:
    def tally(right: int) -> Tally:
        return Tally(np.repeat([1.0, 0.0], [right, n - right]), right / n, n)

    above = [k for k in range(n + 1) if tally(k).is_above(p)]
    below = [k for k in range(n + 1) if tally(k).is_below(p)]
    for refused in (above, below):
        assert math.fsum(binomial(n, p, k) for k in refused) <= FALSE_ALARM
    if above:
        assert math.fsum(binomial(n, p, k) for k in range(above[0] - 1, n + 1)) > FALSE_ALARM / 50

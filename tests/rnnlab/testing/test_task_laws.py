"""What the laws of tasks say beside their "ok", and the rules that a configuration of a task can break."""

from functools import partial

import numpy as np
import pytest

from rnnlab import testing
from rnnlab.errors import LawError
from rnnlab.task import Draws, Examples
from rnnlab.testing.tasks import spread
from tests.laws.honest_tasks import LastIsFirst

LAWS = {law.name: law for law in testing.laws("task")}


@pytest.mark.parametrize(
    ("trained", "tested", "said"),
    [
        ((2,), (2,), "100.0% of valid and 100.0% of test are among the first 20,000 training examples"),
        ((60,), (60, 80), "0.0% of valid and 0.0% of test are among the first 20,000"),
        ((2, 60), (60,), "50.0% of valid and 0.0% of test are among the first 20,000"),
        ((2,), (3,), "100.0% of valid are among the first 20,000"),
        ((2, 998), (998,), "50.0% of valid and 0.0% of test are among the first 2,500"),
    ],
)
def test_the_share_that_training_could_have_seen_stands_beside_the_ok(
    trained: tuple[int, ...], tested: tuple[int, ...], said: str
) -> None:
    note = LAWS["splits draw apart"](partial(LastIsFirst, trained, tested))
    assert note.startswith(said)


def test_a_share_between_none_and_all_is_that_of_a_sample_with_replacement() -> None:
    """Of 4^7 strings 20,000 draws leave (1 - 4^-7)^20,000 unseen."""
    note = LAWS["splits draw apart"](partial(LastIsFirst, (7,), (9,)))
    share = float(note.partition("%")[0]) / 100
    expected = 1 - (1 - 4.0**-7) ** 20_000
    assert abs(share - expected) < 5 * (expected * (1 - expected) / 256) ** 0.5


def test_every_other_law_has_nothing_to_add() -> None:
    for name, law in LAWS.items():
        assert (law(LastIsFirst) == "") == (name != "splits draw apart")


@pytest.mark.parametrize(
    ("trained", "tested", "why"),
    [
        ((), (4,), r"trained is \(\); it is a sequence of positive ints"),
        ((4,), (0, 4), r"tested is \(0, 4\); it is a sequence of positive ints"),
        ((4.0,), (4,), r"trained is \(4\.0,\)"),
        (np.array([4]), (4,), r"trained is array\(\[4\]\)"),
        ((4, 4), (4,), "trained has a difficulty twice"),
        ((4, 8), (2, 8), "difficulty 2 is tested; it is less than 4"),
        ((4, 8), (4,), "difficulty 8 is trained; it is greater than 4"),
    ],
)
def test_difficulties_that_make_no_sense_are_refused(trained: object, tested: object, why: str) -> None:
    with pytest.raises(LawError, match=why):
        LAWS["difficulties"](partial(LastIsFirst, trained, tested))


@pytest.mark.parametrize("trained", [(4,), [4, 8], range(3, 41)])
def test_what_is_tested_may_go_as_far_as_training_and_further(trained: list[int]) -> None:
    LAWS["difficulties"](partial(LastIsFirst, trained, (max(trained),)))
    LAWS["difficulties"](partial(LastIsFirst, trained, (max(trained) + 1, 1_000)))


def test_work_is_bounded_where_difficulties_are_many() -> None:
    assert spread(range(1, 1_001), 4) == [1, 334, 667, 1_000]
    assert spread([3, 5], 4) == [3, 5]

    drawn = set()

    class Counts(LastIsFirst):
        def examples(self, draws: Draws, difficulty: int) -> Examples:
            drawn.add(difficulty)
            return super().examples(draws, difficulty)

    LAWS["tokens and lengths"](partial(Counts, range(1, 501), (500,)))
    assert len(drawn) == 64
    assert {1, 500} <= drawn

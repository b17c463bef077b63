import numpy as np
import pytest

from rnnlab.components.tasks.recall_at_distance import RecallAtDistance
from rnnlab.errors import ConfigError
from tests.components.tasks.drawing import drawn, tokens


def test_an_example_by_hand() -> None:
    """Filler 0, question 1, values 2 to 17: the value 9 stands three positions before the question."""
    assert RecallAtDistance(lead=2).oracle(tokens("0 0 9 0 0 1"), 3)[:, -1].tolist() == [9]


@pytest.mark.parametrize(("lead", "distance"), [(4, 15), (0, 1), (1, 64)])
def test_the_value_stands_exactly_so_far_before_the_question(lead: int, distance: int) -> None:
    inputs, targets, weights = drawn(RecallAtDistance(lead=lead), distance)
    assert inputs.shape == (200, lead + distance + 1)
    assert (inputs[:, -1] == 1).all()
    assert ((inputs >= 2).sum(axis=1) == 1).all()
    np.testing.assert_array_equal(inputs[:, -1 - distance], targets[:, -1])
    np.testing.assert_array_equal(weights.sum(axis=0), [0] * (lead + distance) + [200])


def test_every_value_is_drawn() -> None:
    assert set(drawn(RecallAtDistance(), 4).targets[:, -1].tolist()) == set(range(2, 18))


def test_the_distances_lie_on_both_sides_of_what_a_memory_of_16_and_of_64_reaches() -> None:
    assert {15, 16, 63, 64} <= set(RecallAtDistance().tested)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distances": [0]}, r"RecallAtDistance.distances = 0: at least 1"),
        ({"test": [-1]}, r"RecallAtDistance.test = -1"),
        ({"values": 1}, r"RecallAtDistance.values = 1: at least 2"),
        ({"lead": -1}, r"RecallAtDistance.lead = -1: at least 0"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RecallAtDistance(**arguments)  # type: ignore[arg-type]

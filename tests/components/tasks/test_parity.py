import pytest

from rnnlab.components.tasks.parity import Parity
from rnnlab.errors import ConfigError
from tests.components.tasks.drawing import asked, drawn, tokens


def test_an_example_by_hand() -> None:
    inputs, answers = tokens("1 0 1 1 0"), tokens("1 1 0 1 1")
    assert Parity().oracle(inputs, 5).tolist() == answers.tolist()


def test_every_position_is_asked_and_its_answer_counts_the_ones() -> None:
    examples = drawn(Parity(), 9)
    counted = [[sum(row[: t + 1]) % 2 for t in range(9)] for row in examples.inputs.tolist()]
    assert asked(Parity(), examples, examples.targets) == counted


def test_the_lengths_are_all_from_the_shortest_to_the_longest() -> None:
    assert list(Parity(shortest=2, longest=5).trained) == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shortest": 5, "longest": 4}, r"Parity.shortest = 5, Parity.longest = 4: 1 <= shortest <= longest"),
        ({"shortest": 0}, r"Parity.shortest = 0"),
        ({"test": [40, 0]}, r"Parity.test = 0: at least 1"),
        ({"asked": "first"}, r"Parity.asked = 'first': one of 'every', 'last'"),
        ({"test": []}, r"Parity.test = \[\]: at least one is needed"),
    ],
)
def test_lengths_that_cannot_be_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Parity(**arguments)  # type: ignore[arg-type]

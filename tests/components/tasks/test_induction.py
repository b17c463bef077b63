import numpy as np
import pytest

from rnnlab.components.tasks.induction import Induction
from rnnlab.errors import ConfigError
from tests.components.tasks.drawing import asked, drawn, tokens


def test_an_example_by_hand() -> None:
    """Symbols 0 to 13, trigger 14: 3 came behind it."""
    assert Induction().oracle(tokens("5 3 14 3 8 0 14"), 6)[:, -1].tolist() == [3]


@pytest.mark.parametrize("length", [3, 20])
def test_the_trigger_stands_once_within_and_once_behind(length: int) -> None:
    task = Induction(symbols=5)
    examples = drawn(task, length)
    for row, answers in zip(examples.inputs.tolist(), asked(task, examples, examples.targets), strict=True):
        first, second = (place for place, token in enumerate(row) if token == 5)
        assert second == length
        assert answers == [row[first + 1]]
        assert row[first + 1] < 5


def test_the_first_trigger_stands_anywhere_but_at_the_last_two_positions() -> None:
    places = (drawn(Induction(), 8, 2000).inputs == 14).argmax(axis=1)
    assert np.bincount(places, minlength=9).tolist()[6:] == [0, 0, 0]
    assert np.bincount(places)[:6].min() > 250


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Induction.symbols = 1: at least 2"):
        Induction(symbols=1)
    with pytest.raises(ConfigError, match=r"Induction.shortest = 2, .*: 3 <= shortest <= longest"):
        Induction(shortest=2)
    with pytest.raises(ConfigError, match=r"Induction.test = 2: at least 3"):
        Induction(test=[2])

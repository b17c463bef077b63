import numpy as np
import pytest

from rnnlab.components.tasks.selective_copy import SelectiveCopy
from rnnlab.errors import ConfigError
from tests.components.tasks.drawing import asked, drawn, tokens


def test_an_example_by_hand() -> None:
    """Blank 0, marker 1, symbols 2 to 7: 5 2 2 are to be said at the three markers."""
    answers = SelectiveCopy(tokens=3).oracle(tokens("0 5 0 0 2 0 2 0  1 1 1"), 8)
    assert answers[:, -3:].tolist() == [[5, 2, 2]]


@pytest.mark.parametrize("length", [4, 5, 32])
def test_the_markers_ask_for_the_symbols_in_their_order(length: int) -> None:
    task = SelectiveCopy()
    examples = drawn(task, length)
    for row, answers in zip(examples.inputs.tolist(), asked(task, examples, examples.targets), strict=True):
        assert row[length:] == [1, 1, 1, 1]
        assert 1 not in row[:length]
        assert answers == [token for token in row[:length] if token != 0]
    assert (examples.weights[:, :length] == 0).all()


def test_the_symbols_lie_anywhere() -> None:
    taken = (drawn(SelectiveCopy(), 32, 4000).inputs[:, :32] != 0).mean(axis=0)
    np.testing.assert_allclose(taken, 4 / 32, atol=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": 0}, r"SelectiveCopy.tokens = 0: at least 1"),
        ({"symbols": 0}, r"SelectiveCopy.symbols = 0: at least 1"),
        ({"lengths": [3]}, r"SelectiveCopy.lengths = 3: at least 4, as many as SelectiveCopy.tokens"),
        ({"test": [3]}, r"SelectiveCopy.test = 3: at least 4"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SelectiveCopy(**arguments)  # type: ignore[arg-type]

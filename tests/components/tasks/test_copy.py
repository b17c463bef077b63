import pytest

from rnnlab.components.tasks.copy import Copy
from rnnlab.errors import ConfigError
from tests.components.tasks.drawing import asked, drawn, tokens


def test_an_example_by_hand() -> None:
    """Marker 0, symbols 1 to 16: 7 3 3 9 is said again."""
    assert Copy().oracle(tokens("7 3 3 9  0 7 3 3"), 4)[:, 4:].tolist() == [[7, 3, 3, 9]]


@pytest.mark.parametrize("length", [1, 2, 32])
def test_the_string_is_asked_again_behind_the_marker(length: int) -> None:
    examples = drawn(Copy(), length)
    for row, answers in zip(examples.inputs.tolist(), asked(Copy(), examples, examples.targets), strict=True):
        assert answers == row[:length]
        assert row[length:] == [0, *row[: length - 1]]
    assert (examples.weights[:, :length] == 0).all()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Copy.symbols = 0: at least 1"):
        Copy(symbols=0)
    with pytest.raises(ConfigError, match=r"Copy.shortest = 0"):
        Copy(shortest=0)
    with pytest.raises(ConfigError, match=r"Copy.test = 0"):
        Copy(test=[0])

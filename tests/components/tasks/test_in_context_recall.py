import pytest

from rnnlab.components.tasks.in_context_recall import InContextRecall
from rnnlab.errors import ConfigError
from tests.components.tasks.drawing import asked, drawn, tokens


def test_an_example_by_hand() -> None:
    """Keys 0 to 2, values 3 to 5; key 1 comes again once, key 0 twice."""
    inputs = tokens("0 5  1 3  1 3  0 5  2 5  0 5")
    answers = InContextRecall(keys=3, values=3).oracle(inputs, 12)
    assert answers[0, [4, 6, 10]].tolist() == [3, 5, 5]


@pytest.mark.parametrize("length", [3, 4, 31, 32])
def test_a_key_is_asked_wherever_it_comes_again(length: int) -> None:
    task = InContextRecall()
    examples = drawn(task, length)
    for row, weights, answers in zip(
        examples.inputs.tolist(), examples.weights, asked(task, examples, examples.targets), strict=True
    ):
        table: dict[int, int] = {}
        expected = []
        for t, key in enumerate(row[0::2]):
            assert (weights[2 * t] > 0) == (key in table)
            expected += [table[key]] if key in table else []
            if 2 * t + 1 < length:
                value = row[2 * t + 1]
                assert table.setdefault(key, value) == value
                assert weights[2 * t + 1] == 0
                assert key < 8 <= value
        assert answers == expected


def test_the_last_key_always_comes_again() -> None:
    assert (drawn(InContextRecall(keys=1000), 9).weights[:, -1] > 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lengths": [2]}, r"InContextRecall.lengths = 2: at least 3, for a key to come again"),
        ({"test": [2]}, r"InContextRecall.test = 2"),
        ({"keys": 0}, r"InContextRecall.keys = 0"),
        ({"values": 0}, r"InContextRecall.values = 0"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        InContextRecall(**arguments)  # type: ignore[arg-type]

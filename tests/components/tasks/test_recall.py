import pytest

from rnnlab.components.tasks.recall import Recall
from rnnlab.errors import ConfigError
from tests.components.tasks.drawing import asked, drawn, tokens


def test_an_example_by_hand() -> None:
    """Keys 0 to 3, values 4 to 9, filler 10: three pairs, two positions of filler, the keys in another order."""
    task = Recall(pairs=[3], test=[4], keys=4, values=6, gap=2)
    inputs = tokens("2 9  0 4  3 9  10 10  0 3 2")
    assert task.oracle(inputs, 3)[:, -3:].tolist() == [[4, 9, 9]]


def test_the_trial_is_eight_pairs_and_eight_questions_without_filler() -> None:
    examples = drawn(Recall(), 8)
    assert Recall().vocabulary == 32
    for row, answers in zip(examples.inputs.tolist(), asked(Recall(), examples, examples.targets), strict=True):
        table = dict(zip(row[0:16:2], row[1:16:2], strict=True))
        assert len(table) == 8
        assert max(table) < 16 <= min(table.values())
        assert answers == [table[key] for key in row[16:]]
        assert sorted(row[16:]) == sorted(table)


def test_the_questions_come_in_an_order_of_their_own() -> None:
    inputs = drawn(Recall(), 8).inputs
    assert (inputs[:, 16:] != inputs[:, 0:16:2]).any(axis=1).mean() > 0.99


def test_a_gap_is_filler_between_the_pairs_and_the_questions() -> None:
    task = Recall(gap=5)
    assert task.vocabulary == 33
    examples = drawn(task, 8)
    assert examples.inputs.shape == (200, 29)
    assert (examples.inputs[:, 16:21] == 32).all()
    assert (examples.weights[:, 21:] == 1).all()
    assert (examples.weights[:, :21] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairs": [17]}, r"Recall.pairs = 17: from 1 to 16, as there are no more Recall.keys"),
        ({"test": [0]}, r"Recall.test = 0: from 1 to 16"),
        ({"pairs": []}, r"Recall.pairs = \[\]"),
        ({"keys": 0}, r"Recall.keys = 0: at least 1"),
        ({"values": 0}, r"Recall.values = 0: at least 1"),
        ({"gap": -1}, r"Recall.gap = -1: at least 0"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recall(**arguments)  # type: ignore[arg-type]


def test_more_pairs_than_keys_are_refused_where_they_are_drawn_too() -> None:
    with pytest.raises(ConfigError, match=r"Recall.pairs = 17"):
        drawn(Recall(), 17)

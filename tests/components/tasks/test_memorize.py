import numpy as np
import pytest

from rnnlab.components.tasks.memorize import Memorize
from rnnlab.errors import ConfigError
from tests.components.tasks.drawing import asked, drawn


def test_the_published_setting_has_127_keys_and_as_many_values() -> None:
    task = Memorize()
    assert task.vocabulary == 256
    assert sorted(task.table.tolist()) == list(range(127, 254))


def test_the_table_is_the_same_in_every_process() -> None:
    assert Memorize(vocabulary=12).table.tolist() == [6, 7, 8, 9, 5]


@pytest.mark.parametrize("length", [2, 5, 32])
def test_each_key_is_followed_by_a_question_for_its_value(length: int) -> None:
    task = Memorize()
    for key in (1, 2):  # whatever is drawn, the table is the same
        examples = drawn(task, length, key=key)
        for row, answers in zip(examples.inputs.tolist(), asked(task, examples, examples.targets), strict=True):
            keys = row[0::2][: length // 2]
            assert answers == [task.table[one] for one in keys]
            assert set(row[1::2]) == {255}
            assert max(row[0::2]) < 127
        assert (examples.weights[:, 0::2] == 0).all()


def test_256_examples_show_every_key() -> None:
    assert len(np.unique(drawn(Memorize(), 32, 256).inputs)) == 128


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocabulary": 4}, r"Memorize.vocabulary = 4: at least 5"),
        ({"lengths": [1]}, r"Memorize.lengths = 1: at least 2, a key and its question"),
        ({"test": [1]}, r"Memorize.test = 1"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Memorize(**arguments)  # type: ignore[arg-type]

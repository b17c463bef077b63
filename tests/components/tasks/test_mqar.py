import numpy as np
import pytest

from rnnlab.components.tasks.mqar import MQAR
from rnnlab.errors import ConfigError
from tests.components.tasks.drawing import asked, drawn, tokens


def test_an_example_by_hand() -> None:
    """Filler 0, keys 1 to 5, values 6 to 11: two pairs, then their keys within the filler."""
    task = MQAR(pairs=[2], test=[2], vocabulary=12, stretch=8)
    inputs = tokens("2 8 4 7  0 0 4 0 0 0 0 0 2 0 0 0")
    answers = task.oracle(inputs, 2)
    assert (answers[0, 6], answers[0, 12]) == (7, 8)


def test_the_published_setting_has_the_published_sizes() -> None:
    task = MQAR()
    examples = drawn(task, 4)
    assert (task.vocabulary, examples.inputs.shape) == (8192, (200, 64))
    for row, weights, answers in zip(
        examples.inputs.tolist(), examples.weights, asked(task, examples, examples.targets), strict=True
    ):
        keys, values = row[0:8:2], row[1:8:2]
        assert len(set(keys)) == len(set(values)) == 4
        assert min(keys) >= 1
        assert max(keys) < 4096 <= min(values)
        places = np.flatnonzero(weights)
        assert (places % 2 == 0).all()
        assert places.min() >= 8
        assert sorted(row[place] for place in places) == sorted(keys)
        assert answers == [dict(zip(keys, values, strict=True))[row[place]] for place in places]
        assert sum(row) == sum(values) + 2 * sum(keys), "the rest is filler"


def test_the_keys_of_an_example_differ_and_so_do_its_values() -> None:
    inputs = drawn(MQAR(pairs=[9], test=[9], vocabulary=20), 9).inputs
    for part in (inputs[:, 0:18:2], inputs[:, 1:18:2]):
        assert (np.diff(np.sort(part, axis=1), axis=1) > 0).all()


@pytest.mark.parametrize(("power", "stretch"), [(0.01, 16), (1.0, 6)])
def test_the_first_key_takes_a_slot_in_proportion_to_its_weight(power: float, stretch: int) -> None:
    examples = drawn(MQAR(pairs=[4], test=[4], power=power, stretch=stretch), 4, 20_000)
    slots = (examples.inputs[:, 8::2] == examples.inputs[:, :1]).argmax(axis=1)
    weight = np.arange(1, 2 * (stretch - 2) + 1) ** (power - 1)
    shares = np.bincount(slots, minlength=len(weight)) / len(slots)
    np.testing.assert_allclose(shares, weight / weight.sum(), atol=0.015)


def test_a_later_key_takes_one_of_the_slots_that_are_left() -> None:
    """Two slots of weights 1 and w: the second key stands where the first does not."""
    examples = drawn(MQAR(pairs=[2], test=[2], power=0.01, stretch=4), 2, 20_000)
    second = (examples.inputs[:, 4::2] == examples.inputs[:, 2:3]).argmax(axis=1)
    weight = 2**-0.99
    assert np.mean(second == 1) == pytest.approx(1 / (1 + weight), abs=0.015)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocabulary": 9}, r"MQAR.vocabulary = 9: an even number"),
        ({"vocabulary": 2}, r"MQAR.vocabulary = 2: at least 4"),
        ({"stretch": 2}, r"MQAR.stretch = 2: at least 4"),
        ({"stretch": 5}, r"MQAR.stretch = 5: an even number"),
        ({"power": 0.0}, r"MQAR.power = 0.0: above 0"),
        ({"power": float("nan")}, r"MQAR.power = nan"),
        ({"vocabulary": 20}, r"MQAR.test = 16: from 1 to 9, as there are no more keys; MQAR.vocabulary"),
        ({"pairs": []}, r"MQAR.pairs = \[\]"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MQAR(**arguments)  # type: ignore[arg-type]

import pytest

from rnnlab.components.tasks.modular_sum import ModularSum
from rnnlab.components.tasks.parity import Parity
from rnnlab.errors import ConfigError
from tests.components.tasks.drawing import asked, drawn, tokens


def test_an_example_by_hand() -> None:
    assert ModularSum(modulus=5).oracle(tokens("3 4 0 2 1"), 5).tolist() == [[3, 2, 2, 4, 0]]


def test_every_position_is_asked_and_its_answer_is_the_sum_so_far() -> None:
    examples = drawn(ModularSum(modulus=7), 9)
    counted = [[sum(row[: t + 1]) % 7 for t in range(9)] for row in examples.inputs.tolist()]
    assert asked(ModularSum(), examples, examples.targets) == counted


def test_modulo_2_it_is_parity() -> None:
    for of_sum, of_parity in zip(drawn(ModularSum(modulus=2), 20), drawn(Parity(), 20), strict=True):
        assert (of_sum == of_parity).all()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"ModularSum.modulus = 1: at least 2"):
        ModularSum(modulus=1)
    with pytest.raises(ConfigError, match=r"ModularSum.shortest = 9, ModularSum.longest = 8"):
        ModularSum(shortest=9, longest=8)
    with pytest.raises(ConfigError, match=r"ModularSum.test = 0"):
        ModularSum(test=[0])

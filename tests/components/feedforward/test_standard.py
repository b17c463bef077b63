import pytest
import torch

from rnnlab.components.feedforward.boom import Boom
from rnnlab.components.feedforward.standard import Standard
from rnnlab.errors import ConfigError
from rnnlab.model import count_parameters


def test_it_is_two_matrices_around_booms_activation() -> None:
    part = Standard(6, inner=10).double()
    x = torch.randn(4, 2, 6, dtype=torch.float64)
    u = x @ part.up.weight.T + part.up.bias
    expected = (u * torch.sigmoid(1.702 * u)) @ part.down.weight.T + part.down.bias
    torch.testing.assert_close(part(x), expected)


def test_it_is_boom_where_the_second_matrix_only_sums() -> None:
    standard, boom = Standard(4, inner=12).double(), Boom(4, inner=12).double()
    with torch.no_grad():
        standard.down.weight.copy_(torch.eye(4).repeat(1, 3))
        standard.down.bias.zero_()
    boom.up.load_state_dict(standard.up.state_dict())
    x = torch.randn(4, 2, 4, dtype=torch.float64)
    torch.testing.assert_close(standard(x), boom(x))


def test_the_second_matrix_is_what_it_costs_more_than_boom() -> None:
    D, F = 64, 256
    assert count_parameters(Standard(D)) - count_parameters(Boom(D)) == D * F + D
    assert Standard(D).macs() - Boom(D).macs() == D * F


def test_its_dropout_acts_in_training_alone() -> None:
    part = Standard(6, dropout=0.5)
    x = torch.randn(4, 2, 6)
    assert not torch.equal(part(x), part(x))
    part.eval()
    assert torch.equal(part(x), part(x))


@pytest.mark.parametrize(("arguments", "message"), [
    ({"inner": 0}, "Standard.inner = 0"),
    ({"dropout": 1.5}, "Standard.dropout = 1.5"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Standard(4, **arguments)  # type: ignore[arg-type]

import pytest
import torch

from rnnlab.components.feedforward.standard import Standard
from rnnlab.components.feedforward.swiglu import SwiGLU
from rnnlab.errors import ConfigError


def test_one_product_opens_the_other() -> None:
    part = SwiGLU(6, inner=10).double()
    x = torch.randn(4, 2, 6, dtype=torch.float64)
    opened = x @ part.gate.weight.T
    expected = (opened * torch.sigmoid(opened) * (x @ part.up.weight.T)) @ part.down.weight.T
    torch.testing.assert_close(part(x), expected)


def test_it_costs_what_the_standard_feed_forward_costs() -> None:
    assert SwiGLU(1024).macs() == pytest.approx(Standard(1024).macs(), rel=0.001)


def test_its_dropout_acts_in_training_alone() -> None:
    part = SwiGLU(6, inner=10, dropout=0.5)
    x = torch.randn(4, 2, 6)
    assert not torch.equal(part(x), part(x))
    part.eval()
    assert torch.equal(part(x), part(x))


@pytest.mark.parametrize(("arguments", "message"), [
    ({"dim": 4, "inner": 0}, "SwiGLU.inner = 0"),
    ({"dim": 4, "dropout": -0.1}, "SwiGLU.dropout = -0.1"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SwiGLU(**arguments)  # type: ignore[arg-type]

import pytest
import torch

from rnnlab.components.cores.sru import SRU
from rnnlab.errors import ConfigError


def test_it_computes_the_papers_equations() -> None:
    core = SRU(6).double()
    for parameter in core.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(9, 3, 6, dtype=torch.float64)
    start = torch.randn(3, 6, dtype=torch.float64)
    y, state = core(x, core.initial_state(3)._replace(c=start))
    c = start
    for x_t, y_t in zip(x, y, strict=True):
        f = torch.sigmoid(x_t @ core.forget.weight.T + core.forget.bias)
        r = torch.sigmoid(x_t @ core.reset.weight.T + core.reset_cell * c + core.reset.bias)
        c = f * c + (1 - f) * (x_t @ core.candidate_weight.T)
        torch.testing.assert_close(y_t, r * c + (1 - r) * 3**0.5 * x_t)
    torch.testing.assert_close(state.c, c)


def test_it_starts_as_its_authors_code_does() -> None:
    core = SRU(2000)
    gates = (core.forget.weight, core.reset.weight)
    for weight, variance in [(core.candidate_weight, 1 / 2000), *((gate, 0.5 / 2000) for gate in gates)]:
        bound = torch.tensor((3 * variance) ** 0.5)  # as fp32 holds it: a draw may round to the bound itself
        assert 0.99 * bound < weight.abs().max() <= bound * (1 + 1e-6)
        assert weight.var().item() == pytest.approx(variance, rel=0.01)
    assert core.reset_cell.abs().max().item() == pytest.approx(1.5**0.5, rel=0.02)
    assert core.reset_cell.var().item() == pytest.approx(0.5, rel=0.15)
    assert not core.forget.bias.any()
    assert not core.reset.bias.any()


def test_a_width_below_1_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"SRU.dim = 0"):
        SRU(0)

import pytest
import torch

from rnnlab.components.cores.rg_lru import RGLRU
from rnnlab.errors import ConfigError


def test_it_computes_the_papers_equations() -> None:
    core = RGLRU(6).double()
    x = torch.randn(9, 3, 6, dtype=torch.float64)
    h = torch.randn(3, 6, dtype=torch.float64)
    y, state = core(x, core.initial_state(3)._replace(h=h))
    for x_t, y_t in zip(x, y, strict=True):
        r = torch.sigmoid(x_t @ core.recurrence.weight.T + core.recurrence.bias)
        i = torch.sigmoid(x_t @ core.input.weight.T + core.input.bias)
        a = torch.sigmoid(core.decay) ** (8 * r)
        h = a * h + (1 - a**2).sqrt() * (i * x_t)
        branch = x_t @ core.branch.weight.T + core.branch.bias
        torch.testing.assert_close(y_t, branch * torch.special.ndtr(branch) * h)
    torch.testing.assert_close(state.h, h)


def test_its_slowest_decays_start_between_a_tenth_and_a_thousandth_a_step() -> None:
    slowest = torch.sigmoid(RGLRU(2000).decay.double()) ** 8
    assert 0.9 <= slowest.min().item() < 0.901
    assert 0.998 < slowest.max().item() <= 0.99901


def test_its_gates_start_as_in_the_authors_code() -> None:
    core = RGLRU(500)
    for gate in (core.recurrence, core.input):
        assert gate.weight.std().item() == pytest.approx(500**-0.5, rel=0.01)
        assert not gate.bias.any()


def test_a_channel_that_keeps_all_but_nothing_takes_in_as_little() -> None:
    """A floor under 1 - a^2 would let a held state drift: here it is 1e-9, far below any."""
    core = RGLRU(1).double()
    with torch.no_grad():
        for gate, bias in ((core.recurrence, 0.0), (core.input, 50.0)):
            gate.weight.zero_()
            gate.bias.fill_(bias)
        core.decay.fill_(22.110926)  # 1 - a^2 is 2e-9 for r = 1/2
    _, state = core(torch.ones(1, 1, 1, dtype=torch.float64), core.initial_state(1))
    a = torch.sigmoid(core.decay.detach()) ** 4
    torch.testing.assert_close(state.h[0], (1 - a**2).sqrt(), rtol=1e-4, atol=0)
    assert state.h.item() < 1e-4


def test_a_gate_that_closes_for_good_leaves_finite_gradients() -> None:
    core = RGLRU(4)
    torch.nn.init.constant_(core.recurrence.bias, -200.0)  # r = 0 in float32, so a = 1 and 1 - a^2 = 0
    y, _ = core(torch.randn(5, 2, 4), core.initial_state(2))
    y.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in core.parameters())


def test_a_width_below_1_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"RGLRU.dim = 0"):
        RGLRU(0)

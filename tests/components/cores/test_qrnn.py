import pytest
import torch
from torch import Tensor

from rnnlab.components.cores.qrnn import QRNN
from rnnlab.errors import ConfigError


def by_hand(core: QRNN, x: Tensor) -> Tensor:
    """The paper's equations, a position at a time."""
    c, previous, rows = torch.zeros_like(x[0]), torch.zeros_like(x[0]), []
    for x_t in x:
        seen = torch.cat([previous, x_t], dim=-1) if core.width == 2 else x_t
        z = torch.tanh(seen @ core.candidate.weight.T + core.candidate.bias)
        f = torch.sigmoid(seen @ core.forget.weight.T + core.forget.bias)
        o = torch.sigmoid(seen @ core.output.weight.T + core.output.bias)
        f = 1 - (1 - f) * (1 - core.zoneout)
        c, previous = f * c + (1 - f) * z, x_t
        rows.append(o * c)
    return torch.stack(rows)


@pytest.mark.parametrize("zoneout", [0.0, 0.25])
@pytest.mark.parametrize("width", [1, 2])
def test_it_computes_the_papers_equations(width: int, zoneout: float) -> None:
    core = QRNN(6, width=width, zoneout=zoneout).double().eval()
    x = torch.randn(9, 3, 6, dtype=torch.float64)
    y, state = core(x, core.initial_state(3))
    torch.testing.assert_close(y, by_hand(core, x))
    assert (state.x is None) == (width == 1)


def test_width_2_looks_at_the_position_before_the_cut() -> None:
    core = QRNN(4, width=2).double()
    x = torch.randn(5, 2, 4, dtype=torch.float64)
    whole, _ = core(x, core.initial_state(2))
    first, state = core(x[:2], core.initial_state(2))
    torch.testing.assert_close(state.x, x[1])
    second, _ = core(x[2:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)


def test_zoneout_keeps_that_share_of_the_cells_as_they_were() -> None:
    core = QRNN(64, zoneout=0.3)
    x = torch.randn(1, 200, 64)
    start = core.initial_state(200)._replace(c=torch.full((200, 64), 7.0))
    _, moved = core(x, start)
    assert (moved.c == 7.0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    core.eval()
    _, expected = core(x, start)
    assert (expected.c == 7.0).sum() == 0
    assert (moved.c - expected.c).mean().abs().item() < 0.1


@pytest.mark.parametrize(("width", "parameters"), [(1, 3_148_800), (2, 6_294_528)])
def test_it_has_the_published_number_of_parameters(width: int, parameters: int) -> None:
    core = QRNN(1024, width=width)
    assert sum(p.numel() for p in core.parameters()) == parameters
    assert core.macs() == parameters - 3 * 1024


@pytest.mark.parametrize(("arguments", "message"), [
    ({"dim": 0}, "QRNN.dim = 0"),
    ({"dim": 4, "width": 3}, "QRNN.width = 3"),
    ({"dim": 4, "zoneout": 1.0}, "QRNN.zoneout = 1.0"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QRNN(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [1, 2])
def test_its_weights_start_within_the_root_of_what_a_convolution_sees(width: int) -> None:
    core = QRNN(300, width=width)
    bound = (width * 300) ** -0.5
    for gate in (core.candidate, core.forget, core.output):
        assert 0.999 * bound < gate.weight.abs().max().item() <= bound * (1 + 1e-6)
        assert gate.weight.var().item() == pytest.approx(bound**2 / 3, rel=0.02)

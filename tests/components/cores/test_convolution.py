import functools

import pytest
import torch
from torch import Tensor

from rnnlab import testing
from rnnlab.components.cores.convolution import Convolution
from rnnlab.components.cores.qrnn import QRNN
from rnnlab.errors import ConfigError
from rnnlab.testing import Law


def by_hand(core: Convolution, x: Tensor) -> Tensor:
    """The equations, a position and an input at a time."""
    D, rows = core.dim, []
    for t in range(len(x)):
        z, o = core.candidate.bias.expand_as(x[0]), core.output.bias.expand_as(x[0])
        for back in range(min(core.width, t + 1)):
            columns = slice((core.width - 1 - back) * D, (core.width - back) * D)
            z = z + x[t - back] @ core.candidate.weight[:, columns].T
            o = o + x[t - back] @ core.output.weight[:, columns].T
        rows.append(torch.sigmoid(o) * torch.tanh(z))
    return torch.stack(rows)


@pytest.mark.parametrize("T", [1, 2, 9])
@pytest.mark.parametrize("width", [1, 2, 3, 7])
def test_it_computes_the_equations(width: int, T: int) -> None:
    core = Convolution(6, width=width).double()
    x = torch.randn(T, 3, 6, dtype=torch.float64)
    y, state = core(x, core.initial_state(3))
    torch.testing.assert_close(y, by_hand(core, x))
    last = torch.cat([torch.zeros(width - 1, 3, 6, dtype=torch.float64), x])[T:]
    assert state.x.shape == (width - 1, 3, 6)
    assert torch.equal(state.x, last)


@pytest.mark.parametrize("law", testing.laws("core"))
def test_a_wider_one_obeys_every_law(law: Law) -> None:
    law(functools.partial(Convolution, width=4))


@pytest.mark.parametrize("width", [1, 2])
def test_it_is_a_qrnn_that_keeps_nothing_of_its_cell(width: int) -> None:
    torch.manual_seed(0)
    core, qrnn = Convolution(6, width=width).double(), QRNN(6, width=width).double()
    qrnn.load_state_dict(core.state_dict(), strict=False)
    with torch.no_grad():
        qrnn.forget.weight.zero_()
        qrnn.forget.bias.fill_(-800.0)
    x = torch.randn(9, 3, 6, dtype=torch.float64)
    torch.testing.assert_close(core(x, core.initial_state(3))[0], qrnn(x, qrnn.initial_state(3))[0])


def test_its_draw_is_the_qrnns() -> None:
    core = Convolution(256, width=3)
    for parameter in core.parameters():
        assert 0.97 < parameter.abs().max().item() * (3 * 256) ** 0.5 <= 1.0


def test_the_next_state_keeps_no_chunk_in_memory() -> None:
    core = Convolution(4, width=3)
    x = torch.randn(1000, 2, 4)
    _, state = core(x, core.initial_state(2))
    assert state.x.untyped_storage().nbytes() == state.x.numel() * 4


@pytest.mark.parametrize(("width", "parameters"), [(1, 2_099_200), (4, 8_390_656)])
def test_it_has_two_matrices_a_position_it_sees(width: int, parameters: int) -> None:
    core = Convolution(1024, width=width)
    assert sum(p.numel() for p in core.parameters()) == parameters
    assert core.macs() == parameters - 2 * 1024
    assert core.reach == width - 1


@pytest.mark.parametrize(("arguments", "message"), [
    ({"dim": 0}, r"Convolution\.dim = 0"),
    ({"dim": 4, "width": 0}, r"Convolution\.width = 0: a width is at least 1"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Convolution(**arguments)

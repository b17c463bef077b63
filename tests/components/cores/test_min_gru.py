import pytest
import torch

from rnnlab.components.cores.min_gru import MinGRU
from rnnlab.errors import ConfigError


def test_it_computes_the_papers_equations() -> None:
    core = MinGRU(6).double()
    x = torch.randn(9, 3, 6, dtype=torch.float64)
    h = torch.randn(3, 6, dtype=torch.float64)
    y, state = core(x, core.initial_state(3)._replace(h=h))
    for x_t, y_t in zip(x, y, strict=True):
        z = torch.sigmoid(x_t @ core.update.weight.T + core.update.bias)
        h = (1 - z) * h + z * (x_t @ core.candidate.weight.T + core.candidate.bias)
        torch.testing.assert_close(y_t, h)
    torch.testing.assert_close(state.h, h)


def test_a_width_below_1_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"MinGRU.dim = 0"):
        MinGRU(0)

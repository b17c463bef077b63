import copy

import pytest
import torch

from rnnlab.components.cores.gru import GRU
from rnnlab.errors import ConfigError
from rnnlab.testing import rounding


def test_it_computes_the_gated_recurrent_unit() -> None:
    core = GRU(6).double()
    x = torch.randn(9, 3, 6, dtype=torch.float64)
    y, state = core(x, core.initial_state(3))
    weights = dict(core.gru.named_parameters())
    h = torch.zeros(3, 6, dtype=torch.float64)
    for x_t, y_t in zip(x, y, strict=True):
        r_in, z_in, n_in = (x_t @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]).chunk(3, dim=-1)
        r_back, z_back, n_back = (h @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]).chunk(3, dim=-1)
        r, z = torch.sigmoid(r_in + r_back), torch.sigmoid(z_in + z_back)
        h = z * h + (1 - z) * torch.tanh(n_in + r * n_back)
        torch.testing.assert_close(y_t, h)
    torch.testing.assert_close(state.h, h)


def test_autocast_leaves_its_recurrence_in_float32() -> None:
    core = GRU(8)
    x = torch.randn(40, 2, 8)
    twin = copy.deepcopy(core).double()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = core(x, core.initial_state(2))
    assert y.dtype == state.h.dtype == torch.float32
    rounding.expected(lambda: twin(x.double(), twin.initial_state(2))[0], torch.bfloat16).check(y)


def test_a_width_below_1_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"GRU.dim = 0"):
        GRU(0)

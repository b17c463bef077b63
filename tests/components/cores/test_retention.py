"""What a core says it keeps is what it keeps."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rnnlab import registry
from rnnlab.interfaces import HasForgetGate

CELLS = {"LSTM": "c", "QRNN": "c", "SRU": "c", "MinGRU": "h", "RGLRU": "h"}  # the field that the gate multiplies


def core(name: str, **how: Any) -> Any:
    torch.manual_seed(0)
    return registry.find(f"core.{name}").factory(6, **how).double().eval()


@pytest.mark.parametrize(("name", "how"), [*((name, {}) for name in CELLS), ("QRNN", {"width": 2, "zoneout": 0.3})])
def test_a_disturbance_of_the_cell_shrinks_by_the_retention(name: str, how: dict[str, Any]) -> None:
    part, field = core(name, **how), CELLS[name]
    x = torch.randn(5, 3, 6, dtype=torch.float64)
    _, state = part(x[:4], part.initial_state(3))
    disturbed = state._replace(**{field: getattr(state, field) + 0.5})
    after, after_disturbed = (getattr(part(x[4:], one)[1], field) for one in (state, disturbed))
    torch.testing.assert_close(after_disturbed - after, 0.5 * part.retention(x[4:], state)[0])


def test_a_gru_moves_from_its_output_to_its_candidate_by_what_it_does_not_keep() -> None:
    part = core("GRU")
    x = torch.randn(7, 2, 6, dtype=torch.float64)
    y, _ = part(x, part.initial_state(2))
    z = part.retention(x, part.initial_state(2))
    before = torch.cat([torch.zeros(1, 2, 6, dtype=torch.float64), y[:-1]])
    candidate = (y - z * before) / (1.0 - z)
    assert candidate.abs().max() <= 1.0, "n is a tanh"
    w, u, b, c = part.gru.weight_ih_l0, part.gru.weight_hh_l0, part.gru.bias_ih_l0, part.gru.bias_hh_l0
    r = torch.sigmoid(x @ w[:6].T + b[:6] + before @ u[:6].T + c[:6])
    n = torch.tanh(x @ w[12:].T + b[12:] + r * (before @ u[12:].T + c[12:]))
    torch.testing.assert_close(candidate, n)


WITHOUT_A_GATE = {"Convolution"}  # it keeps nothing
BY_HEAD = {"GatedDeltaNet", "GLA", "Mamba2", "MLSTM"}  # 4 heads, at width 8 a GLA's with one key each


@pytest.mark.parametrize("name", [part.name for part in registry.parts("core") if part.name not in WITHOUT_A_GATE])
def test_every_core_says_how_fast_it_forgets_however_the_text_is_cut(name: str) -> None:
    part = registry.find(f"core.{name}").factory(8).double().eval()
    assert isinstance(part, HasForgetGate)
    x = torch.randn(9, 2, 8, dtype=torch.float64)
    state = part.initial_state(2)
    whole: Tensor = part.retention(x, state)
    assert whole.shape == (9, 2, 4 if name in BY_HEAD else 8)
    assert 0.0 <= whole.min() < whole.max() <= 1.0
    _, between = part(x[:4], state)
    torch.testing.assert_close(torch.cat([part.retention(x[:4], state), part.retention(x[4:], between)]), whole)

import pytest
import torch
from torch import Tensor

from rnnlab.components.cores.lstm import LSTM, LSTMState
from rnnlab.components.cores.mogrifier_lstm import MogrifierLSTM
from rnnlab.errors import ConfigError
from tests.components.cores.straight import agrees, sigmoid


def straight(core: MogrifierLSTM, x: Tensor, state: LSTMState) -> Tensor:
    h, c = state
    matrices = [torch.linalg.multi_dot([part.weight for part in reversed(gate.factors)]) if core.rank else
                gate.factors[0].weight for gate in core.gates]  # fmt: skip
    outputs = []
    for x_t in x:
        for number, matrix in enumerate(matrices, start=1):
            if number % 2:
                x_t = 2 * sigmoid(h @ matrix.T) * x_t
            else:
                h = 2 * sigmoid(x_t @ matrix.T) * h
        raw = x_t @ core.input.weight.T + core.input.bias + h @ core.recurrent.weight.T + core.recurrent.bias
        i, f, g, o = raw.chunk(4, dim=-1)
        c = sigmoid(f) * c + sigmoid(i) * torch.tanh(g)
        h = sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs)


@pytest.mark.parametrize("rank", [0, 2])
def test_it_computes_the_papers_equations(rank: int) -> None:
    agrees(MogrifierLSTM(6, rounds=4, rank=rank), straight, positions=12)


def test_without_rounds_it_is_an_lstm() -> None:
    core, lstm = MogrifierLSTM(5, rounds=0).double(), LSTM(5).double()
    with torch.no_grad():
        for own, theirs in zip(core._weights(), lstm._weights(), strict=True):
            own.copy_(theirs)
    x = torch.randn(7, 2, 5, dtype=torch.float64)
    torch.testing.assert_close(core(x, core.initial_state(2)), lstm(x, lstm.initial_state(2)), check_dtype=False)


@pytest.mark.parametrize("arguments", [{"dim": 0}, {"dim": 8, "rounds": -1}, {"dim": 8, "rank": -1}])
def test_numbers_that_cannot_be_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"MogrifierLSTM\.(dim|rounds|rank) = -?\d: "):
        MogrifierLSTM(**arguments)

import pytest
import torch
from torch import Tensor

from rnnlab.components.cores.slstm import SLSTM, SLSTMState
from rnnlab.errors import ConfigError
from tests.components.cores.straight import agrees, convolved, head_norm, sigmoid


def straight(core: SLSTM, x: Tensor, state: SLSTMState) -> Tensor:
    """Without the stabilizer: c and n themselves."""
    batch, heads, each = x.shape[1], core.heads, core.dim // core.heads
    h, c, n, m = (part.transpose(0, 1) for part in state.cell)  # (B, H, W)
    c, n = c * torch.exp(m), n * torch.exp(m)
    blocks = {name: torch.block_diag(*getattr(core, name).weight) for name in ("input", "forget", "candidate", "gate")}
    recurrent = core.recurrent.reshape(heads, each, 4, each)
    bias = core.bias.reshape(heads, 4, each)
    mixes = convolved(torch.cat([state.past, x]), core.convolution.weight, core.convolution.bias)
    outputs = []
    for x_t, mixed in zip(x, mixes, strict=True):
        raw = {}
        for number, (name, seen) in enumerate(zip(blocks, (mixed, mixed, x_t, x_t), strict=True)):
            own = (seen @ blocks[name].T).reshape(batch, heads, each)
            raw[name] = own + torch.einsum("bhi,hio->bho", h, recurrent[:, :, number]) + bias[:, number]
        i, f = torch.exp(raw["input"]), sigmoid(raw["forget"])
        c, n = f * c + i * torch.tanh(raw["candidate"]), f * n + i
        h = sigmoid(raw["gate"]) * c / n
        outputs.append(head_norm(h, core.norm.gain).reshape(batch, -1))
    return torch.stack(outputs)


def test_it_computes_the_papers_equations() -> None:
    agrees(SLSTM(8, heads=2), straight, positions=20)


@pytest.mark.parametrize("bias", [-1000.0, 1000.0])
def test_an_input_gate_of_any_size_neither_overflows_nor_leaves_a_gradient_that_is_no_number(bias: float) -> None:
    core = SLSTM(8, heads=2)
    with torch.no_grad():
        core.bias.view(len(core.recurrent), -1)[:, :4] += bias
    y, _ = core(torch.randn(30, 2, 8), core.initial_state(2))
    y.square().sum().backward()
    assert y.isfinite().all()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in core.parameters())


@pytest.mark.parametrize("arguments", [{"dim": 0}, {"dim": 8, "heads": 3}, {"dim": 8, "width": 0}])
def test_shapes_that_cannot_be_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"SLSTM\."):
        SLSTM(**arguments)

import pytest
import torch
from torch import Tensor

from rnnlab.components.cores.mlstm import MLSTM, MLSTMState
from rnnlab.errors import ConfigError
from tests.components.cores.straight import agrees, convolved, head_norm, sigmoid, silu


def straight(core: MLSTM, x: Tensor, state: MLSTMState) -> Tensor:
    """Without the stabilizer: C and n themselves."""
    batch, heads = x.shape[1], core.heads
    scale = torch.exp(state.scale)[..., None, None]  # (B, H, 1, 1)
    both = state.memory.permute(2, 0, 1, 3) * scale  # (B, H, K, K + 1)
    memory, norm = both[..., :-1], both[..., -1]
    inner = x @ core.inputs.weight.T
    w_q, w_k, w_v = (torch.block_diag(*part.weight) for part in (core.query, core.key, core.value))
    mixes = convolved(torch.cat([state.past, inner]), core.convolution.weight, core.convolution.bias)
    outputs = []
    for x_t, inner_t, mixed in zip(x, inner, mixes, strict=True):
        q, k, v = mixed @ w_q.T, mixed @ w_k.T, inner_t @ w_v.T
        gates = torch.cat([q, k, v], dim=-1) @ core.gates.weight.T + core.gates.bias
        i, f = torch.exp(gates[:, :heads]), sigmoid(gates[:, heads:])
        q, k, v = (part.reshape(batch, heads, -1) for part in (q, k / (core.inner // heads) ** 0.5, v))
        memory = f[..., None, None] * memory + i[..., None, None] * k.unsqueeze(-1) * v.unsqueeze(-2)
        norm = f.unsqueeze(-1) * norm + i.unsqueeze(-1) * k
        divisor = (norm * q).sum(-1, keepdim=True).abs().clamp(min=1.0)
        read = (q.unsqueeze(-1) * memory).sum(-2) / divisor
        gated = (head_norm(read, core.norm.gain).reshape(batch, -1) + core.skip * mixed) * silu(
            x_t @ core.gate.weight.T
        )
        outputs.append(gated @ core.output.weight.T)
    return torch.stack(outputs)


def test_it_computes_the_papers_equations() -> None:
    agrees(MLSTM(4, heads=2), straight)


@pytest.mark.parametrize("bias", [-1000.0, 1000.0])
def test_an_input_gate_of_any_size_neither_overflows_nor_leaves_a_gradient_that_is_no_number(bias: float) -> None:
    core = MLSTM(8, heads=2)
    with torch.no_grad():
        core.gates.bias[:2] += bias
    y, state = core(torch.randn(90, 2, 8), core.initial_state(2))
    y.square().sum().backward()
    assert y.isfinite().all()
    assert state.memory.isfinite().all()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in core.parameters())


@pytest.mark.parametrize(
    "arguments", [{"dim": 0}, {"dim": 8, "heads": 3}, {"dim": 8, "block": 3}, {"dim": 8, "width": 0}]
)
def test_shapes_that_cannot_be_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"MLSTM\."):
        MLSTM(**arguments)

import pytest
import torch
from torch import Tensor

from rnnlab.components.cores.gla import GLA, GLAState
from rnnlab.errors import ConfigError
from tests.components.cores.straight import agrees, head_norm, sigmoid, silu


def straight(core: GLA, x: Tensor, state: GLAState) -> Tensor:
    batch = x.shape[1]
    memory = state.memory.permute(2, 0, 1, 3)  # (B, H, K, V)
    outputs = []
    for x_t in x:
        a = sigmoid(x_t @ core.narrow.weight.T @ core.forget.weight.T + core.forget.bias) ** (1 / 16)
        projected = (x_t @ part.weight.T for part in (core.query, core.key, core.value))
        q, k, v, a = (part.reshape(batch, core.heads, -1) for part in (*projected, a))
        memory = a.unsqueeze(-1) * memory + k.unsqueeze(-1) * v.unsqueeze(-2)
        read = (q.unsqueeze(-1) * memory).sum(-2) / core.key_width**0.5
        gate = silu(x_t @ core.gate.weight.T + core.gate.bias)
        outputs.append((head_norm(read, core.norm.gain).reshape(batch, -1) * gate) @ core.output.weight.T)
    return torch.stack(outputs)


def test_it_computes_the_papers_equations() -> None:
    agrees(GLA(8, heads=2, rank=3), straight)


def test_a_key_has_half_the_width_of_a_value_unless_it_is_bound() -> None:
    assert GLA(16, heads=2).key_width == 4
    assert GLA(16, heads=2, key_width=7).initial_state(3).memory.shape == (2, 7, 3, 8)


def test_gates_that_close_leave_finite_gradients() -> None:
    core = GLA(8, heads=2)
    with torch.no_grad():
        core.forget.bias.fill_(-1e4)  # a is 0 in float32, its logarithm -625 a position
    y, _ = core(torch.randn(40, 2, 8), core.initial_state(2))
    y.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in core.parameters())


@pytest.mark.parametrize(
    "arguments", [{"dim": 0}, {"dim": 8, "heads": 3}, {"dim": 8, "key_width": 0}, {"dim": 8, "rank": 0}]
)
def test_shapes_that_cannot_be_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"GLA\."):
        GLA(**arguments)

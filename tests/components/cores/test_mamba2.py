import pytest
import torch
from torch import Tensor

from rnnlab.components.cores.mamba2 import Mamba2, Mamba2State
from rnnlab.errors import ConfigError
from tests.components.cores.straight import agrees, convolved, head_norm, silu, softplus


def straight(core: Mamba2, x: Tensor, state: Mamba2State) -> Tensor:
    batch, states = x.shape[1], core.states
    memory = state.memory.permute(2, 0, 3, 1)  # (B, H, 2 D/H, N)
    inputs = torch.cat([state.past, x @ core.inputs.weight.T])
    outputs = []
    for x_t, mixed in zip(x, convolved(inputs, core.convolution.weight, core.convolution.bias), strict=True):
        u = mixed[:, : core.inner].reshape(batch, core.heads, -1)
        b, c = mixed[:, core.inner : core.inner + states], mixed[:, core.inner + states :]
        step = softplus(x_t @ core.step.weight.T + core.step_bias)  # (B, H)
        a = torch.exp(-torch.exp(core.log_rate) * step)[..., None, None]
        memory = a * memory + (step.unsqueeze(-1) * u).unsqueeze(-1) * b[:, None, None, :]
        read = (memory * c[:, None, None, :]).sum(-1) + core.skip.unsqueeze(-1) * u
        gated = read.reshape(batch, -1) * silu(x_t @ core.gate.weight.T)
        outputs.append(head_norm(gated, core.norm.gain) @ core.output.weight.T)
    return torch.stack(outputs)


def test_it_computes_the_papers_equations() -> None:
    agrees(Mamba2(6, heads=2, states=5), straight)


def test_its_steps_begin_between_a_thousandth_and_a_tenth() -> None:
    first = torch.nn.functional.softplus(Mamba2(1000, heads=2000, states=1, width=1).step_bias.double())
    assert 1e-3 * (1 - 1e-4) <= first.min().item() < 1.1e-3
    assert 0.09 < first.max().item() <= 0.1 * (1 + 1e-4)


@pytest.mark.parametrize(
    "arguments", [{"dim": 0}, {"dim": 8, "heads": 3}, {"dim": 8, "states": 0}, {"dim": 8, "width": 0}]
)
def test_shapes_that_cannot_be_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"Mamba2\."):
        Mamba2(**arguments)

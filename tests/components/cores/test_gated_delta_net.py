import pytest
import torch
from torch import Tensor

from rnnlab.components.cores.gated_delta_net import GatedDeltaNet, GatedDeltaNetState
from rnnlab.errors import ConfigError
from tests.components.cores.straight import agrees, convolved, head_norm, sigmoid, silu, softplus


def straight(core: GatedDeltaNet, x: Tensor, state: GatedDeltaNetState) -> Tensor:
    heads, batch = core.heads, x.shape[1]
    keys = heads * core.key_width
    memory = state.memory.permute(2, 0, 1, 3)  # (B, H, K, V)
    inputs = torch.cat([state.past, x @ core.inputs.weight.T])
    outputs = []
    for x_t, mixed in zip(x, convolved(inputs, core.convolution.weight, core.convolution.bias), strict=True):
        q, k, v = mixed[:, :keys], mixed[:, keys : 2 * keys], mixed[:, 2 * keys :]
        q, k, v = (part.reshape(batch, heads, -1) for part in (q, k, v))
        q, k = (part / part.norm(dim=-1, keepdim=True) for part in (q, k))
        s = sigmoid(x_t @ core.strength.weight.T)[..., None, None] * (2 if core.negative else 1)
        a = torch.exp(-torch.exp(core.log_rate) * softplus(x_t @ core.decay.weight.T + core.decay_bias))[
            ..., None, None
        ]
        column = k.unsqueeze(-1)
        memory = a * (memory - s * column @ (column.transpose(-1, -2) @ memory)) + s * column @ v.unsqueeze(-2)
        read = (q.unsqueeze(-2) @ memory).squeeze(-2) / core.key_width**0.5
        gate = silu(x_t @ core.gate.weight.T)
        outputs.append((head_norm(read, core.norm.gain).reshape(batch, -1) * gate) @ core.output.weight.T)
    return torch.stack(outputs)


@pytest.mark.parametrize("key_width", [None, 3, 6])
@pytest.mark.parametrize("negative", [False, True])
def test_it_computes_the_papers_equations(negative: bool, key_width: int | None) -> None:
    agrees(GatedDeltaNet(8, heads=2, negative=negative, key_width=key_width), straight)


def test_keys_are_as_wide_as_values_unless_it_is_bound() -> None:
    assert GatedDeltaNet(16, heads=2).initial_state(3).memory.shape == (2, 8, 3, 8)
    assert GatedDeltaNet(16, heads=2, key_width=7).initial_state(3).memory.shape == (2, 7, 3, 8)


def test_only_with_negative_eigenvalues_can_a_state_change_its_sign() -> None:
    for negative in (False, True):
        core = GatedDeltaNet(4, heads=1, width=1, negative=negative).double()
        with torch.no_grad():
            core.log_rate.fill_(-60.0)  # nothing is forgotten
            core.strength.weight.fill_(0.0).add_(9.0)  # s is near its largest for inputs above 0
            core.inputs.weight[8:].zero_()  # no value is written
            core.convolution.bias.zero_()
        memory = torch.eye(4, dtype=torch.float64).reshape(1, 4, 1, 4)
        state = core.initial_state(1)._replace(memory=memory)
        _, after = core(torch.ones(1, 1, 4, dtype=torch.float64), state)
        values = torch.linalg.eigvalsh(after.memory[0, :, 0])
        expected = -1.0 if negative else 0.0
        torch.testing.assert_close(values.min(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6)


def test_its_decays_begin_between_a_thousandth_and_16_tenths_a_position() -> None:
    core = GatedDeltaNet(4000, heads=2000, width=1).double()
    first = torch.nn.functional.softplus(core.decay_bias)
    assert 1e-3 <= first.min().item() < 1.1e-3
    assert 0.09 < first.max().item() <= 0.1
    assert 1.0 <= core.log_rate.exp().min().item() < 1.1
    assert 15.9 < core.log_rate.exp().max().item() <= 16.0


@pytest.mark.parametrize(
    "arguments",
    [{"dim": 0}, {"dim": 8, "heads": 3}, {"dim": 8, "heads": 0}, {"dim": 8, "width": 0}, {"dim": 8, "key_width": 0}],
)
def test_shapes_that_cannot_be_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"GatedDeltaNet\."):
        GatedDeltaNet(**arguments)

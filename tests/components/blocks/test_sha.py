"""The SHA block's wiring, seen through parts that do one plain thing each."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.components.blocks._state import BlockState
from rnnlab.components.blocks.sha import SHA
from rnnlab.errors import ConfigError


class Scale(nn.Module):
    """Whatever it is given, times a number; as a core, an attention (of queries or source) or a feed-forward."""

    def __init__(self, factor: float, take: int = 0, macs: int = 0) -> None:
        super().__init__()
        self.factor, self.take, self.cost = factor, take, macs

    def initial_state(self, batch: int) -> Tensor:
        return torch.zeros(batch, 1)

    def forward(self, *inputs: Any) -> Any:
        if len(inputs) == 1:
            return self.factor * inputs[0]
        return self.factor * inputs[self.take], inputs[-1] + 1

    def macs(self) -> int:
        return self.cost


def norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-12)


def run(block: SHA, x: Tensor) -> Tensor:
    y: Tensor = block.double()(x, block.initial_state(x.shape[1]))[0]
    return y


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_core_replaces_what_came_in(x: Tensor) -> None:
    torch.testing.assert_close(run(SHA(8, lambda dim: Scale(3.0)), x), 3.0 * norm(x))
    assert not run(SHA(8, lambda dim: Scale(0.0)), x).any()  # no residual around it


@pytest.mark.parametrize("take", [0, 1], ids=["queries", "source"])
def test_attention_reads_two_norms_of_the_core_and_is_added_to_the_one_of_its_queries(take: int, x: Tensor) -> None:
    block = SHA(8, lambda dim: Scale(1.0), attention=lambda dim: Scale(2.0, take=take))
    with torch.no_grad():
        block.query_norm.weight.fill_(5.0)
        block.memory_norm.weight.fill_(7.0)
    h = norm(norm(x))
    torch.testing.assert_close(run(block, x), 2.0 * (5.0, 7.0)[take] * h + 5.0 * h)


def test_the_feed_forward_reads_one_norm_and_is_added_to_another(x: Tensor) -> None:
    block = SHA(8, lambda dim: Scale(1.0), feedforward=lambda dim: Scale(2.0))
    with torch.no_grad():
        block.feedforward_norm.weight.fill_(5.0)
        block.skip_norm.weight.fill_(7.0)
    h = norm(norm(x))
    torch.testing.assert_close(run(block, x), 2.0 * 5.0 * h + 7.0 * h)


def test_dropout_follows_each_of_the_three_and_spares_what_they_are_added_to(x: Tensor) -> None:
    x = x.repeat(200, 1, 1)
    torch.manual_seed(1)
    dropped = run(SHA(8, lambda dim: Scale(1.0), dropout=0.25).train(), x)
    assert (dropped == 0).double().mean().item() == pytest.approx(0.25, abs=0.02)
    torch.testing.assert_close(dropped[dropped != 0], (norm(x) / 0.75)[dropped != 0])

    for slot in ("attention", "feedforward"):
        block = SHA(8, lambda dim: Scale(1.0), **{slot: lambda dim: Scale(2.0)}, dropout=0.25).train()
        torch.manual_seed(1)
        out = run(block, x)
        h = norm(dropped)  # the core's mask is the first that the block draws
        lost = (out - h).abs() < 1e-9
        assert lost.double().mean().item() == pytest.approx(0.25, abs=0.02)
        torch.testing.assert_close((out - h)[~lost], (2.0 * h / 0.75)[~lost])
        assert torch.equal(run(block.eval(), x), run(block, x))


def test_a_slot_without_a_part_has_no_parameters_and_no_state() -> None:
    block = SHA(8, lambda dim: Scale(1.0))
    assert [name for name, _ in block.named_parameters()] == ["start_norm.weight", "start_norm.bias"]
    state = block.initial_state(2)
    assert state.attention is None
    assert block(torch.randn(1, 2, 8), state)[1].attention is None


def test_states_go_to_their_parts_and_come_back() -> None:
    block = SHA(8, lambda dim: Scale(1.0), attention=lambda dim: Scale(1.0))
    _, after = block(torch.randn(2, 3, 8), BlockState(torch.zeros(3, 1), torch.full((3, 1), 10.0)))
    assert torch.equal(after.core, torch.ones(3, 1))
    assert torch.equal(after.attention, torch.full((3, 1), 11.0))


def test_its_cost_is_that_of_its_parts() -> None:
    parts = {"attention": lambda dim: Scale(1.0, macs=30), "feedforward": lambda dim: Scale(1.0, macs=500)}
    assert SHA(8, lambda dim: Scale(1.0, macs=2), **parts).macs() == 532
    assert SHA(8, lambda dim: Scale(1.0, macs=2)).macs() == 2


@pytest.mark.parametrize("dropout", [1.0, -0.5])
def test_a_dropout_that_is_no_probability_is_refused(dropout: float) -> None:
    with pytest.raises(ConfigError, match=rf"Block\.dropout = {dropout}"):
        SHA(8, lambda dim: Scale(1.0), dropout=dropout)

"""How far back a block says that it looks."""

from collections.abc import Callable
from functools import partial

import pytest
from torch import nn

from rnnlab import testing
from rnnlab.components.attention.multi_head import MultiHead
from rnnlab.components.attention.projected import Projected
from rnnlab.components.attention.single_head import SingleHead
from rnnlab.components.blocks.pre_norm import PreNorm
from rnnlab.components.blocks.sha import SHA
from rnnlab.components.cores.convolution import Convolution
from rnnlab.components.cores.lstm import LSTM
from rnnlab.components.feedforward.standard import Standard
from rnnlab.testing.small import Window

(REACH,) = [law for law in testing.laws("block") if law.name == "reach"]

wirings = pytest.mark.parametrize("wiring", [SHA, PreNorm])


@wirings
def test_a_blocks_reach_is_the_sum_of_its_cores_and_its_attentions(wiring: Callable[..., nn.Module]) -> None:
    core = partial(Convolution, width=3)
    assert wiring(8, core).reach == 2
    assert wiring(8, core, feedforward=Standard).reach == 2
    for attention in (SingleHead, MultiHead, Projected):
        assert wiring(8, core, attention=partial(attention, memory=5)).reach == 6


@wirings
def test_a_part_that_says_none_leaves_a_block_without_a_bound(wiring: Callable[..., nn.Module]) -> None:
    assert wiring(8, LSTM).reach is None
    assert wiring(8, LSTM, attention=partial(SingleHead, memory=5)).reach is None
    assert wiring(8, Convolution, attention=Window).reach is None


@wirings
def test_the_memory_that_evaluation_sets_moves_the_reach(wiring: Callable[..., nn.Module]) -> None:
    block = wiring(8, Convolution, attention=partial(SingleHead, memory=5))
    block.attention.memory = 2  # type: ignore[union-attr]
    assert block.reach == 1


@wirings
@pytest.mark.parametrize("attention", [SingleHead, Projected, None])
def test_the_law_holds_a_block_to_it(wiring: Callable[..., nn.Module], attention: Callable[..., nn.Module]) -> None:
    filled = testing.fill(wiring, partial(Convolution, width=3), attention, Standard)
    assert REACH.applies_to(filled)
    REACH(filled)


def test_the_law_has_nothing_to_say_about_a_block_without_a_bound() -> None:
    assert not REACH.applies_to(testing.fill(SHA, LSTM, SingleHead))

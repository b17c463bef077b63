import inspect
from collections.abc import Callable

import pytest
import torch
from torch import nn

from rnnlab import testing
from rnnlab.errors import LawError
from rnnlab.testing.blocks import fillings
from rnnlab.testing.small import Leaky, TwoLayers, Window
from tests.laws.honest_parts import Residual


def test_a_filled_block_offers_memory_only_where_a_slot_has_one() -> None:
    assert list(inspect.signature(testing.fill(Residual, Leaky, Window)).parameters) == ["dim", "dropout", "memory"]
    assert list(inspect.signature(testing.fill(Residual, Leaky)).parameters) == ["dim", "dropout"]


def test_memory_and_dropout_reach_the_slots() -> None:
    block = testing.fill(Residual, Leaky, Window, TwoLayers)(8, dropout=0.3, memory=7)
    assert isinstance(block, Residual)
    assert block.attention is not None
    assert block.feedforward is not None
    assert (block.dropout, block.attention.dropout, block.feedforward.dropout) == (0.3, 0.3, 0.3)
    assert block.attention.memory == 7


def test_a_filled_block_is_named_after_what_fills_it() -> None:
    assert testing.fill(Residual, Leaky, None, TwoLayers).__name__ == "Residual(Leaky, none, TwoLayers)"


def test_an_open_block_is_tried_with_and_without_what_it_can_do_without() -> None:
    names = [block.__name__ for block in fillings(Residual)]
    assert names[0] == "Residual(Leaky, Window, TwoLayers)"
    assert names[-1] == "Residual(Leaky, none, none)"
    filled = testing.fill(Residual, Leaky)
    assert fillings(filled) == [filled]


def test_all_pairs_need_far_fewer_blocks_than_all_combinations() -> None:
    def parts(stem: str, count: int) -> list[Callable[..., nn.Module]]:
        return [type(f"{stem}{i}", (TwoLayers,), {}) for i in range(count)]

    chosen = testing.all_pairs(parts("B", 2), parts("C", 6), parts("A", 3), parts("F", 3))
    assert 24 <= len(chosen) <= 30  # 24 pairs of a core and an attention, none included; 192 combinations


def test_a_block_that_asks_its_slot_for_another_width_is_caught() -> None:
    class Doubles(Residual):
        def __init__(self, dim: int, core: Callable[[int], nn.Module], dropout: float = 0.0, **slots: object) -> None:
            super().__init__(2 * dim, core, dropout=dropout)

    outcomes = testing.check(Doubles, "block")
    assert all("asked its slot for width 32" in outcome.message for outcome in outcomes)
    assert torch.is_grad_enabled()


def test_a_block_law_names_the_filling_that_breaks_it() -> None:
    class ForgetsAttention(Residual):
        def initial_state(self, batch: int) -> object:  # type: ignore[override]
            state = super().initial_state(batch)
            if self.feedforward is None and self.attention is not None:
                raise RuntimeError("attention without feed-forward was forgotten")
            return state

    (streaming,) = [law for law in testing.laws("block") if law.name == "streaming"]
    with pytest.raises(LawError, match=r"ForgetsAttention\(Leaky, Window, none\) breaks 'streaming'.*was forgotten"):
        streaming(ForgetsAttention)

"""The size of a state, told from the parts: closed forms, and parts that others may write."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnlab.components.attention.single_head import SingleHead
from rnnlab.components.blocks.sha import SHA
from rnnlab.components.cores.convolution import Convolution
from rnnlab.components.cores.gla import GLA
from rnnlab.components.cores.lstm import LSTM
from rnnlab.components.cores.mlstm import MLSTM
from rnnlab.components.cores.sru_pp import SRUPP
from rnnlab.components.feedforward.boom import Boom
from rnnlab.state_size import count_state, floats

D = 16


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (LSTM(D), 2 * D),
        (GLA(D, heads=2, key_width=3), 2 * 3 * D // 2),
        (MLSTM(D, heads=2, width=4), 3 * 2 * D + 2 * D * (D + 1) + 2),  # convolution, C and n, m
        (Convolution(D), 0),  # sees its own input alone
        (Convolution(D, width=4), 3 * D),
        (SingleHead(D, memory=1), 0),
        (SingleHead(D, memory=5000), 4999 * D),  # the query's own position is not remembered
        (SRUPP(D, memory=7), D + 6 * D),
        (SRUPP(D, memory=None), D),
        (Boom(D), 0),  # has no state
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value),
)
def test_a_part_is_counted_by_its_closed_form(part: nn.Module, told: int) -> None:
    assert count_state(part) == told


def test_a_block_is_the_sum_of_its_parts() -> None:
    block = SHA(D, core=LSTM, attention=lambda dim: SingleHead(dim, memory=100))
    assert count_state(block) == 2 * D + 99 * D
    assert count_state(nn.ModuleList([block])) == 0, "it has no state of its own"


def test_a_memory_that_is_set_later_counts_as_it_is() -> None:
    block = SHA(D, core=LSTM, attention=lambda dim: SingleHead(dim, memory=100))
    block.attention.memory = 5
    assert count_state(block) == 2 * D + 4 * D


class Compressed(nn.Module):
    """Remembers every second position of its window, which `memory` does not tell."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def initial_state(self, batch: int) -> Tensor:
        return torch.zeros(0, batch, self.dim)

    def state_size(self) -> int:
        return 50 * self.dim


class Around(nn.Module):
    """Has a state beside that of the parts within, which lie in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([Compressed(D), SingleHead(D, memory=3), LSTM(D)])

    def initial_state(self, batch: int) -> Any:
        return torch.zeros(batch, D), tuple(part.initial_state(batch) for part in self.parts)  # type: ignore[operator]


def test_parts_within_parts_are_counted_once() -> None:
    assert count_state(Around()) == D + 50 * D + 2 * D + 2 * D


def test_what_is_told_by_the_part_itself_goes_before_what_is_seen() -> None:
    assert count_state(Compressed(D)) == 50 * D
    assert count_state(SHA(D, core=LSTM, attention=Compressed)) == 2 * D + 50 * D


def test_integers_and_masks_do_not_count_and_a_complex_number_is_two() -> None:
    counter, mask = torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 4, dtype=torch.bool)
    assert floats((counter, mask, torch.zeros(1, 3, dtype=torch.bfloat16), None)) == 3
    assert floats(torch.zeros(2, 1, 3, dtype=torch.complex64)) == 12

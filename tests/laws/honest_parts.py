"""Honest parts, beside those of `rnnlab.testing.small`, that mutants are made from."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from rnnlab.ops.dropout import dropout
from rnnlab.testing.small import TwoLayers


class Gained(TwoLayers):
    """TwoLayers times a gain of two factors, which fold into one: an honest part that folds."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.gains = nn.Parameter(torch.ones(2, dim))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.gains.prod(0)

    def fold(self) -> Self:
        folded = copy.deepcopy(self)
        folded.gains = nn.Parameter(self.gains.detach().prod(0, keepdim=True))
        return folded


class ResidualState(NamedTuple):
    core: Any
    attention: Any


class Residual(nn.Module):
    """Every sub-layer beside a skip path: an honest block."""

    def __init__(
        self,
        dim: int,
        core: Callable[[int], Any],
        attention: Callable[[int], Any] | None = None,
        feedforward: Callable[[int], Any] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.core = core(dim)
        self.attention = attention(dim) if attention else None
        self.feedforward = feedforward(dim) if feedforward else None

    def initial_state(self, batch: int) -> ResidualState:
        memory = self.attention.initial_state(batch) if self.attention else None
        return ResidualState(self.core.initial_state(batch), memory)

    def forward(self, x: Tensor, state: ResidualState) -> tuple[Tensor, ResidualState]:
        h, core_state = self.core(x, state.core)
        x, memory = x + dropout(h, self.dropout, self.training), None
        if self.attention:
            h, memory = self.attention(x, x, state.attention)
            x = x + h
        if self.feedforward:
            x = x + self.feedforward(x)
        return x, ResidualState(core_state, memory)

    def macs(self) -> int:
        return sum(part.macs() for part in (self.core, self.attention, self.feedforward) if part)

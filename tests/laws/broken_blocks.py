"""Blocks, each broken in one way."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from rnnlab.state_size import floats
from tests.laws.honest_parts import Residual, ResidualState


class LosesTheMemory(Residual):
    def forward(self, x: Tensor, state: ResidualState) -> tuple[Tensor, ResidualState]:
        y, end = super().forward(x, state)
        return y, ResidualState(end.core, self.initial_state(x.shape[1]).attention)


class KeepsANormForNoAttention(Residual):
    def __init__(
        self,
        dim: int,
        core: Callable[[int], Any],
        attention: Callable[[int], Any] | None = None,
        feedforward: Callable[[int], Any] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(dim, core, attention, feedforward, dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, state: ResidualState) -> tuple[Tensor, ResidualState]:
        return super().forward(self.norm(x) if self.attention else x, state)


class CountsNoMemory(Residual):
    def state_size(self) -> int:
        return floats(self.initial_state(1))

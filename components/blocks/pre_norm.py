"""The residual block."""

from typing import Any

from torch import Tensor, nn

from rnnlab.components.blocks._state import BlockState
from rnnlab.errors import check_probability
from rnnlab.interfaces import Slot, reach_through
from rnnlab.ops.dropout import dropout
from rnnlab.registry import register


@register("block")
class PreNorm(nn.Module):
    """Core, attention, feed-forward, each added to a residual stream that is never normalized itself.

    Source: Xiong et al. 2020, arXiv:2002.04745, section 3, figure 1(b), with a recurrent core as the first sub-layer.
        x = x + drop(core(LN(x)))
        x = x + drop(attention(LN(x), LN(x)))
        x = x + drop(feedforward(LN(x)))
    Shapes: x (T, B, D) -> y (T, B, D); state: the core's and the attention's.
    Args:
        dim: width D.
        core, attention, feedforward: factories called `slot(dim)`; the last two may be None.
        dropout: on each of the three before it is added [probability], in [0, 1).
    Raises: ConfigError if dropout is outside [0, 1).
    """

    def __init__(
        self, dim: int, core: Slot, attention: Slot | None = None, feedforward: Slot | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_probability("Block", "dropout", dropout)
        self.dropout = dropout
        self.core_norm = nn.LayerNorm(dim, eps=1e-12)
        self.core: Any = core(dim)
        self.attention: Any = attention(dim) if attention else None
        if self.attention:
            self.attention_norm = nn.LayerNorm(dim, eps=1e-12)
        self.feedforward: Any = feedforward(dim) if feedforward else None
        if self.feedforward:
            self.feedforward_norm = nn.LayerNorm(dim, eps=1e-12)

    @property
    def reach(self) -> int | None:
        """Positions back, its own not counted [positions]; None if its core or attention says none."""
        return reach_through(part for part in (self.core, self.attention) if part)

    def initial_state(self, batch: int) -> BlockState:
        memory = self.attention.initial_state(batch) if self.attention else None
        return BlockState(self.core.initial_state(batch), memory)

    def forward(self, x: Tensor, state: BlockState) -> tuple[Tensor, BlockState]:
        y, core_state = self.core(self.core_norm(x), state.core)
        x = x + self._drop(y)
        memory = None
        if self.attention:
            normed = self.attention_norm(x)
            y, memory = self.attention(normed, normed, state.attention)
            x = x + self._drop(y)
        if self.feedforward:
            x = x + self._drop(self.feedforward(self.feedforward_norm(x)))
        return x, BlockState(core_state, memory)

    def _drop(self, y: Tensor) -> Tensor:
        return dropout(y, self.dropout, self.training)

    def macs(self) -> int:
        return sum(part.macs() for part in (self.core, self.attention, self.feedforward) if part)

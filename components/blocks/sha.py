"""The SHA-RNN's block."""

from typing import Any

from torch import Tensor, nn

from rnnlab.components.blocks._state import BlockState
from rnnlab.errors import check_probability
from rnnlab.interfaces import Slot, reach_through
from rnnlab.ops.dropout import dropout
from rnnlab.registry import register


@register("block")
class SHA(nn.Module):
    """Core, attention, feed-forward, each between LayerNorms; the skip path is normalized again at every step.

    Source: Merity 2019, arXiv:1911.11423, figure 1 and section 3.
        h = drop(core(LN_start(x)))                       the core replaces h: there is no residual around it
        h = drop(attention(LN_mid(h), LN_mem(h))) + LN_mid(h)
        y = drop(feedforward(LN_xff(h))) + LN_ff(h)
    Shapes: x (T, B, D) -> y (T, B, D); state: the core's and the attention's.
    Args:
        dim: width D.
        core, attention, feedforward: factories called `slot(dim)`; the last two may be None.
        dropout: after each of the three [probability], in [0, 1).
    Raises: ConfigError if dropout is outside [0, 1).
    """

    def __init__(
        self, dim: int, core: Slot, attention: Slot | None = None, feedforward: Slot | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_probability("Block", "dropout", dropout)
        self.dropout = dropout
        self.start_norm = _norm(dim)
        self.core: Any = core(dim)
        self.attention: Any = attention(dim) if attention else None
        if self.attention:
            self.query_norm, self.memory_norm = _norm(dim), _norm(dim)  # LN_mid, LN_mem
        self.feedforward: Any = feedforward(dim) if feedforward else None
        if self.feedforward:
            self.skip_norm, self.feedforward_norm = _norm(dim), _norm(dim)  # LN_ff, LN_xff

    @property
    def reach(self) -> int | None:
        """Positions back, its own not counted [positions]; None if its core or attention says none."""
        return reach_through(part for part in (self.core, self.attention) if part)

    def initial_state(self, batch: int) -> BlockState:
        memory = self.attention.initial_state(batch) if self.attention else None
        return BlockState(self.core.initial_state(batch), memory)

    def forward(self, x: Tensor, state: BlockState) -> tuple[Tensor, BlockState]:
        h, core_state = self.core(self.start_norm(x), state.core)
        h = self._drop(h)
        memory = None
        if self.attention:
            queries = self.query_norm(h)
            h, memory = self.attention(queries, self.memory_norm(h), state.attention)
            h = self._drop(h) + queries
        if self.feedforward:
            h = self._drop(self.feedforward(self.feedforward_norm(h))) + self.skip_norm(h)
        return h, BlockState(core_state, memory)

    def _drop(self, h: Tensor) -> Tensor:
        return dropout(h, self.dropout, self.training)

    def macs(self) -> int:
        return sum(part.macs() for part in (self.core, self.attention, self.feedforward) if part)


def _norm(dim: int) -> nn.LayerNorm:
    return nn.LayerNorm(dim, eps=1e-12)

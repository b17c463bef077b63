"""The SHA-RNN's single-headed attention."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.components.attention._gated import Gated
from rnnlab.ops.window import InPlaceMemory, Memory, window_attention
from rnnlab.registry import register


class InPlaceState(NamedTuple):
    """A memory in place, and the query's normalization with everything in it that stays the same from byte to byte."""

    memory: InPlaceMemory
    norm_weight: Tensor  # (D)
    norm_bias: Tensor  # (D)


@register("attention")
class SingleHead(Gated):
    """Single-headed attention over a sliding memory of past hidden states; only the query is projected.

    Source: Merity 2019, arXiv:1911.11423, section 3.
        q = sigmoid(q_gate) LN(W_q queries + b_q),  k = sigmoid(k_gate) keys,  v = g_v keys
        a = softmax(q k^T / sqrt(D)),  y = dropout(a) v;  keys = the memory, then source
    Shapes: queries, source (T, B, D) -> y (T, B, D); state (M', B, D), M' <= memory - 1.
    Args:
        dim: width D.
        memory: positions each query may see, itself included [positions], >= 1.
        dropout: on the query, the values and the weights [probability], in [0, 1).
    Raises: ConfigError if memory < 1 or dropout is outside [0, 1).
    Differs: the window is counted per query, not per chunk: the result does not depend on how the text is cut. Both
        gates of the scores are on the query, and g_v on y: the same numbers without a gated copy of the memory.
    """

    def __init__(self, dim: int, memory: int = 1024, dropout: float = 0.0) -> None:
        super().__init__(dim, 1, memory, dropout)

    def forward(
        self, queries: Tensor, source: Tensor, state: Memory | InPlaceState
    ) -> tuple[Tensor, Memory | InPlaceState]:
        if isinstance(state, InPlaceState):
            return self._step(queries, source, state), state
        y, memory = window_attention(
            self.scaled_query(queries), source, state.positions,
            heads=self.heads, window=self.memory, p=self.dropout if self.training else 0.0,
        )  # fmt: skip
        return y * self.value_gate().to(source.dtype), Memory(memory)

    def in_place(self, state: Memory) -> InPlaceState:
        """A state that `forward` changes in place, a position at a time; see `interfaces.HasInPlaceState`."""
        scale = torch.sigmoid(self.q_gate) * torch.sigmoid(self.k_gate) * self._scale
        memory = InPlaceMemory(state.positions.to(self.q_gate.dtype), self.memory)
        return InPlaceState(memory, self.query_norm.weight * scale, self.query_norm.bias * scale)

    def _step(self, queries: Tensor, source: Tensor, state: InPlaceState) -> Tensor:
        assert len(source) == 1, f"{len(source)} positions at a time; an in-place state takes one"
        q = F.layer_norm(self.query(queries[0]), (self.dim,), state.norm_weight, state.norm_bias, self.query_norm.eps)
        state.memory.add(source[0])
        gate: Tensor = self.value_gate()
        return (state.memory.attend(q, self.heads) * gate).unsqueeze(0)

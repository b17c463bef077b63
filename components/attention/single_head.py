"""The SHA-RNN's single-headed attention."""

import copy
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.errors import check_probability
from rnnlab.ops.dropout import dropout
from rnnlab.ops.window import InPlaceMemory, Memory, attention_read, attention_weights, check_window, window_attention
from rnnlab.registry import register


class InPlaceState(NamedTuple):
    """A memory in place, and the query's normalization with everything in it that stays the same from byte to byte."""

    memory: InPlaceMemory
    norm_weight: Tensor  # (D)
    norm_bias: Tensor  # (D)


@register("attention")
class SingleHead(nn.Module):
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

    heads = 1

    def __init__(self, dim: int, memory: int = 1024, dropout: float = 0.0) -> None:
        super().__init__()
        check_window(type(self).__name__, memory)
        check_probability(type(self).__name__, "dropout", dropout)
        self.dim, self.memory, self.dropout = dim, memory, dropout
        self.query = nn.Linear(dim, dim)
        self.query_norm = nn.LayerNorm(dim, eps=1e-12)
        self.q_gate = nn.Parameter(torch.zeros(dim))
        self.k_gate = nn.Parameter(torch.zeros(dim))
        self.value_gate: nn.Module = StaticGate(dim)

    @property
    def reach(self) -> int:
        """Positions back, its own not counted [positions]; see `interfaces.HasReach`."""
        return self.memory - 1

    def initial_state(self, batch: int) -> Memory:
        return Memory(self.q_gate.new_zeros(0, batch, self.dim))

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

    def scaled_query(self, queries: Tensor) -> Tensor:
        """q (T, B, D), with both gates of the scores and their scale."""
        q = torch.sigmoid(self.q_gate) * self.query_norm(self.query(queries))
        return dropout(q, self.dropout, self.training) * (torch.sigmoid(self.k_gate) * self._scale)

    @property
    def _scale(self) -> float:
        return float((self.dim // self.heads) ** -0.5)

    def weights(self, queries: Tensor, source: Tensor, memory: Tensor, hidden: Tensor) -> Tensor:
        """a (B, H, T, M' + T); see `interfaces.HasAttentionWeights`."""
        return attention_weights(self.scaled_query(queries), source, memory, hidden, self.heads)

    def read(self, weights: Tensor, source: Tensor, memory: Tensor) -> Tensor:
        """y (T, B, D) of the memory and source under those weights."""
        y = attention_read(weights, source, memory, self.dropout if self.training else 0.0)
        gated: Tensor = y * self.value_gate().to(source.dtype)
        return gated

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

    def macs(self) -> int:
        return self.dim * self.dim + 2 * self.memory * self.dim

    def fold(self) -> Self:
        """The same attention with the values' gate as the constant that it is once training is over."""
        folded = copy.deepcopy(self)
        folded.value_gate = ConstantGate(self.value_gate())
        return folded


class StaticGate(nn.Module):
    """The over-parameterised gate on the values: a vector of D, made by a D x 2D layer out of another vector of D.

    [c; f] = W_o sigmoid(v_gate) + b_o,  g_v = sigmoid(f) tanh(c)
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.v_gate = nn.Parameter(torch.zeros(dim))
        self.linear = nn.Linear(dim, 2 * dim)

    def forward(self) -> Tensor:
        candidate, forget = self.linear(torch.sigmoid(self.v_gate)).chunk(2)
        return torch.sigmoid(forget) * torch.tanh(candidate)


class ConstantGate(nn.Module):
    """A StaticGate after training: the vector it computes."""

    def __init__(self, gate: Tensor) -> None:
        super().__init__()
        self.gate = nn.Parameter(gate.detach().clone())

    def forward(self) -> Tensor:
        return self.gate

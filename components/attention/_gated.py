"""What the SHA-RNN's attentions have in common: gates in place of projections, over a sliding memory."""

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn

from rnnlab.errors import check_heads, check_probability
from rnnlab.ops.dropout import dropout
from rnnlab.ops.window import Memory, attention_read, attention_weights, check_window, hidden_from, next_memory


class Gated(nn.Module):
    """Attention of H heads whose keys and values are past hidden states; only the query is projected.

    Source: Merity 2019, arXiv:1911.11423, section 3.
        q = sigmoid(q_gate) LN(W_q queries + b_q),  k = sigmoid(k_gate) keys,  v = g_v keys
        a = softmax(q k^T / sqrt(D/H) + bias),  y = dropout(a) v;  keys = the memory, then source
    Shapes: queries, source (T, B, D) -> y (T, B, D); state (M', B, D), M' <= memory - 1.
    """

    state_knob = "memory"

    def __init__(self, dim: int, heads: int, memory: int, dropout: float) -> None:
        super().__init__()
        name = type(self).__name__
        check_window(name, memory)
        check_probability(name, "dropout", dropout)
        check_heads(name, heads, dim)
        self.dim, self.heads, self.memory, self.dropout = dim, heads, memory, dropout
        self.query = nn.Linear(dim, dim)
        self.query_norm = nn.LayerNorm(dim, eps=1e-12)
        self.q_gate = nn.Parameter(torch.zeros(dim))
        self.k_gate = nn.Parameter(torch.zeros(dim))
        self.value_gate: nn.Module = StaticGate(dim)

    @property
    def reach(self) -> int:
        """Positions back, its own not counted [positions]; see `interfaces.HasReach`."""
        return self.memory - 1

    def bias(self, distance: Tensor) -> Tensor | None:
        """What is added to the scores (H, T, M' + T) at a distance (T, M' + T) [positions], below 0 after the query."""
        return None

    def initial_state(self, batch: int) -> Memory:
        return Memory(self.q_gate.new_zeros(0, batch, self.dim))

    def forward(self, queries: Tensor, source: Tensor, state: Any) -> tuple[Tensor, Any]:
        memory = state.positions
        hidden = hidden_from(len(queries), len(memory), self.memory, source.device)
        weights = self.weights(queries, source, memory, hidden)
        return self.read(weights, source, memory), Memory(next_memory(memory, source, self.memory))

    def scaled_query(self, queries: Tensor) -> Tensor:
        """q (T, B, D), with both gates of the scores and their scale."""
        q = torch.sigmoid(self.q_gate) * self.query_norm(self.query(queries))
        return dropout(q, self.dropout, self.training) * (torch.sigmoid(self.k_gate) * self._scale)

    @property
    def _scale(self) -> float:
        return float((self.dim // self.heads) ** -0.5)

    def weights(self, queries: Tensor, source: Tensor, memory: Tensor, hidden: Tensor) -> Tensor:
        """a (B, H, T, M' + T); see `interfaces.HasAttentionWeights`."""
        here = torch.arange(len(memory), len(memory) + len(queries), device=hidden.device).unsqueeze(1)
        bias = self.bias(here - torch.arange(len(memory) + len(queries), device=hidden.device))
        return attention_weights(self.scaled_query(queries), source, memory, hidden, self.heads, bias=bias)

    def read(self, weights: Tensor, source: Tensor, memory: Tensor) -> Tensor:
        """y (T, B, D) of the memory and source under those weights."""
        y = attention_read(weights, source, memory, self.dropout if self.training else 0.0)
        gated: Tensor = y * self.value_gate().to(source.dtype)
        return gated

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

"""The SHA-RNN's attention for any number of heads; SingleHead and MultiHead are its two parts."""

import copy
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rnnlab.components.attention import _window
from rnnlab.components.attention._memory import Memory, check_window, hidden_from, next_memory
from rnnlab.components.attention._ring import Ring
from rnnlab.dropout import dropout
from rnnlab.errors import ConfigError


class InPlaceState(NamedTuple):
    """A memory in place, and the query's normalization with everything in it that stays the same from byte to byte."""

    ring: Ring
    norm_weight: Tensor  # (D)
    norm_bias: Tensor  # (D)


class StaticGate(nn.Module):
    """The over-parameterised gate on the values: a vector of D, made by a D x 2D layer out of another vector of D.

    [c; f] = W_o sigmoid(v_gate) + b_o,  g = sigmoid(f) tanh(c)
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


class GatedAttention(nn.Module):
    """Attention of H heads that projects the query only; keys and values are gated readings of one memory.

    Both gates of the scores lie on the query, and the gate of the values on the result: with K the memory,
    scores = (q g_q g_k) K^T and y = (dropout(a) dropout(K)) g_v are the same numbers as gating K, without a gated copy.
    The memory's half of each product is kept apart because it needs no gradient.
    """

    def __init__(self, dim: int, heads: int, memory: int, dropout: float) -> None:
        super().__init__()
        name = type(self).__name__
        check_window(name, memory)
        if heads < 1 or dim % heads:
            raise ConfigError(f"{name}.heads = {heads}: the width {dim} has to be a multiple of the number of heads")
        if not 0.0 <= dropout < 1.0:
            raise ConfigError(f"{name}.dropout = {dropout}: a probability in [0, 1) is needed")
        self.dim, self.heads, self.memory, self.dropout = dim, heads, memory, dropout
        self.query = nn.Linear(dim, dim)
        self.query_norm = nn.LayerNorm(dim, eps=1e-12)
        self.q_gate = nn.Parameter(torch.zeros(dim))
        self.k_gate = nn.Parameter(torch.zeros(dim))
        self.value_gate: nn.Module = StaticGate(dim)

    def initial_state(self, batch: int) -> Memory:
        return Memory(self.q_gate.new_zeros(0, batch, self.dim))

    def forward(
        self, queries: Tensor, source: Tensor, state: Memory | InPlaceState
    ) -> tuple[Tensor, Memory | InPlaceState]:
        if isinstance(state, InPlaceState):
            return self._step(queries, source, state), state
        memory = state.positions.to(source.dtype)
        if _window.serves(source, memory):
            seen, p = torch.cat([memory, source]), self.dropout if self.training else 0.0
            y = _window.attend(self._scaled(queries), source, seen, self.heads, self.memory, p)
            # The next memory is a view of what was seen: a copy of a long one costs as much as a layer.
            return y * self.value_gate().to(source.dtype), Memory(seen[max(0, len(seen) - self.memory + 1) :])
        hidden = hidden_from(len(queries), len(memory), self.memory, source.device)
        y = self.read(self.weights(queries, source, memory, hidden), source, memory)
        return y, Memory(next_memory(memory, source, self.memory))

    def in_place(self, state: Memory) -> InPlaceState:
        """A state that `forward` changes in place, a position at a time; see `interfaces.HasInPlaceState`."""
        scale = torch.sigmoid(self.q_gate) * torch.sigmoid(self.k_gate) * (self.dim // self.heads) ** -0.5
        ring = Ring(state.positions.to(self.q_gate.dtype), self.memory)
        return InPlaceState(ring, self.query_norm.weight * scale, self.query_norm.bias * scale)

    def _step(self, queries: Tensor, source: Tensor, state: InPlaceState) -> Tensor:
        assert len(source) == 1, f"{len(source)} positions at a time; an in-place state takes one"
        q = self.query(queries[0])
        q = F.layer_norm(q, (self.dim,), state.norm_weight, state.norm_bias, self.query_norm.eps)
        state.ring.add(source[0])
        gate: Tensor = self.value_gate()
        return (state.ring.attend(q, self.heads) * gate).unsqueeze(0)

    def _scaled(self, queries: Tensor) -> Tensor:
        """(T, B, D): projected, with both gates of the scores and their scale."""
        q: Tensor = dropout(
            torch.sigmoid(self.q_gate) * self.query_norm(self.query(queries)), self.dropout, self.training
        )
        q = q * (torch.sigmoid(self.k_gate) * (self.dim // self.heads) ** -0.5)
        return q

    def weights(self, queries: Tensor, source: Tensor, memory: Tensor, hidden: Tensor) -> Tensor:
        """(B, H, T, M' + T) over the memory, then source; see `interfaces.HasAttentionWeights`."""
        q = self._by_head(self._scaled(queries).to(source.dtype))  # (B H, T, D/H), and so the keys
        scores = torch.cat([q @ self._by_head(part).mT for part in (memory, source)], dim=-1)
        exact = torch.promote_types(scores.dtype, torch.float32)
        weights = scores.to(exact).masked_fill(hidden, -torch.inf).softmax(dim=-1).to(source.dtype)
        by_sequence: Tensor = weights.unflatten(0, (-1, self.heads))  # type: ignore[no-untyped-call]
        return by_sequence

    def read(self, weights: Tensor, source: Tensor, memory: Tensor) -> Tensor:
        """y (T, B, D) of the memory and source under those weights."""
        # By sequence, so that each keeps its mask whichever others stand beside it.
        weights = dropout(weights, self.dropout, self.training, batch_dim=0).flatten(0, 1)
        # Slices, because torch 2.13 compiles `split` between these products into a wrong gradient of source.
        seen, own = weights[..., : len(memory)], weights[..., len(memory) :]
        by_head = seen @ self._values(memory) + own @ self._values(source)
        y: Tensor = rearrange(by_head, "(b h) t d -> t b (h d)", h=self.heads) * self.value_gate().to(source.dtype)
        return y

    def _values(self, positions: Tensor) -> Tensor:
        return self._by_head(dropout(positions, self.dropout, self.training))

    def _by_head(self, x: Tensor) -> Tensor:
        return rearrange(x, "t b (h d) -> (b h) t d", h=self.heads)

    def macs(self) -> int:
        return self.dim * self.dim + 2 * self.memory * self.dim

    def fold(self) -> Self:
        """The same attention with the values' gate as the constant that it is once training is over."""
        folded = copy.deepcopy(self)
        folded.value_gate = ConstantGate(self.value_gate())
        return folded

"""The Transformer's attention, as a control."""

import torch
from einops import rearrange
from torch import Tensor, nn

from rnnlab.errors import ConfigError, check_probability
from rnnlab.ops.dropout import dropout
from rnnlab.ops.window import Memory, check_window, hidden_from, next_memory
from rnnlab.registry import register


@register("attention")
class Projected(nn.Module):
    """Multi-head attention with query, key, value and output projections and rotary positions over the same memory.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2; rotary positions from Su et al. 2021, arXiv:2104.09864,
    section 3.2; a memory of past inputs from Dai et al. 2019, arXiv:1901.02860, section 3.2.
        q = W_q queries,  k = W_k keys,  v = W_v keys;  keys = the memory, then source
        a = softmax(R(q) R(k)^T / sqrt(D/H)),  y = W_o dropout(a) v;  R turns pairs of channels by the position's angle
    Shapes: queries, source (T, B, D) -> y (T, B, D); state (M', B, D), M' <= memory - 1.
    Args:
        dim: width D, an even multiple of heads.
        heads: H, >= 1.
        memory: positions each query may see, itself included [positions], >= 1.
        dropout: on the weights [probability], in [0, 1).
    Raises: ConfigError if dim is not an even multiple of heads, memory < 1 or dropout is outside [0, 1).
    Differs: the memory holds inputs, which every chunk projects anew: 2 D^2 M'/T multiply-accumulates per position on
        top of `macs`. Positions count from the chunk's first query; only distances matter, so no counter is carried.
    """

    state_knob = "memory"

    def __init__(self, dim: int, heads: int = 4, memory: int = 1024, dropout: float = 0.0) -> None:
        super().__init__()
        check_window("Projected", memory)
        if heads < 1 or dim % (2 * heads):
            raise ConfigError(
                f"Projected.heads = {heads}: the width {dim} has to be a multiple of twice the number of heads, "
                f"since rotary positions turn channels in pairs"
            )
        check_probability("Projected", "dropout", dropout)
        self.dim, self.heads, self.memory, self.dropout = dim, heads, memory, dropout
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)

    @property
    def reach(self) -> int:
        """Positions back, its own not counted [positions]; see `interfaces.HasReach`."""
        return self.memory - 1

    def initial_state(self, batch: int) -> Memory:
        return Memory(self.query.weight.new_zeros(0, batch, self.dim))

    def forward(self, queries: Tensor, source: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        memory = state.positions
        hidden = hidden_from(len(queries), len(memory), self.memory, source.device)
        weights = self.weights(queries, source, memory, hidden)
        return self.read(weights, source, memory), Memory(next_memory(memory, source, self.memory))

    def weights(self, queries: Tensor, source: Tensor, memory: Tensor, hidden: Tensor) -> Tensor:
        """(B, H, T, M' + T) over the memory, then source; see `interfaces.HasAttentionWeights`."""
        q = rotate(self._by_head(self.query(queries)), first=0) * (self.dim // self.heads) ** -0.5
        k = rotate(self._by_head(self.key(_joined(memory, source))), first=-len(memory))
        scores = (q @ k.mT).masked_fill(hidden, -torch.inf)
        weights: Tensor = scores.softmax(dim=-1, dtype=torch.promote_types(q.dtype, torch.float32)).to(q.dtype)
        return weights

    def read(self, weights: Tensor, source: Tensor, memory: Tensor) -> Tensor:
        """y (T, B, D) of the memory and source under those weights."""
        weights = dropout(weights, self.dropout, self.training, batch_dim=0)
        values = self._by_head(self.value(_joined(memory, source)))
        y: Tensor = self.output(rearrange(weights @ values, "b h t d -> t b (h d)"))
        return y

    def _by_head(self, x: Tensor) -> Tensor:
        return rearrange(x, "t b (h d) -> b h t d", h=self.heads)

    def macs(self) -> int:
        return 4 * self.dim * self.dim + 2 * self.memory * self.dim


def _joined(memory: Tensor, source: Tensor) -> Tensor:
    """The memory, then source, in source's dtype."""
    return torch.cat([memory.to(source.dtype), source])


def rotate(x: Tensor, first: int) -> Tensor:
    """x (..., N, d) with channels i and i + d/2 turned by position / 10000^(2i/d); positions run from `first`."""
    half = x.shape[-1] // 2
    # In double precision: a float's angle at position 5,000 is off by 1e-4, and by another amount for every cut.
    place = torch.arange(first, first + x.shape[-2], dtype=torch.float64, device=x.device)
    pace = 10000.0 ** (-torch.arange(half, dtype=torch.float64, device=x.device) / half)
    angle = torch.outer(place, pace)
    exact = torch.promote_types(x.dtype, torch.float32)
    cosine, sine = angle.cos().to(exact), angle.sin().to(exact)
    left, right = x[..., :half], x[..., half:]
    return torch.cat([left * cosine - right * sine, left * sine + right * cosine], dim=-1).to(x.dtype)

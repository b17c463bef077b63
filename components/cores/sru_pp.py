"""SRU++ core."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.errors import check_probability, check_width
from rnnlab.ops.dropout import dropout
from rnnlab.ops.recurrence import full_precision, linear_recurrence
from rnnlab.ops.window import Memory, check_window, hidden_from, next_memory
from rnnlab.registry import register

FIRST_HIGHWAY = -2.0  # bias of the gate between the input and the cell: at first it passes the input


class SRUPPState(NamedTuple):
    c: Tensor  # (B, D) cell
    attention: Memory | None  # last inputs (M', B, D), oldest first, M' <= memory - 1; None without attention


@register("core")
class SRUPP(nn.Module):
    """SRU++: a simple recurrent unit whose inputs are projected by an attention of low rank.

    Source: Lei 2021, arXiv:2102.12459, section 3, and its code (asappresearch/sru).
        Q = W_q x,  K = W_k Q,  V = W_v Q,  A = softmax(Q K^T / sqrt(R)) V    over the memory and the chunk
        U, F, G = W_o norm(Q + alpha A)                                       without a memory: of norm(Q)
        f = sigmoid(F_t + b_f),  c_t = f c_{t-1} + (1 - f) U_t
        r = sigmoid(G_t + v_r c_{t-1} + b_r),  h_t = r c_t + (1 - r) x_t
    Shapes: x (T, B, D) -> y (T, B, D); state c (B, D) and, with attention, last inputs (M', B, D), M' <= memory - 1.
    Args:
        dim: width D.
        rank: R, of the projection and width of the one head, >= 1; None: D / 4, and at least 1.
        memory: positions each query may see, itself included [positions], >= 1; None: no attention in this layer.
        dropout: on the attention's weights and before W_o [probability], in [0, 1).
    Raises: ConfigError if dim < 1, rank < 1, memory < 1 or dropout is outside [0, 1).
    Differs: the forget gate does not see c_{t-1}, as in core.SRU. The highway carries what the block gives the core,
        which is normalized. Dropout does not reach c, and W_o does not begin smaller by the root of 1 - dropout. As in
        the source, the attention has no positions.
    """

    def __init__(self, dim: int, rank: int | None = None, memory: int | None = 1024, dropout: float = 0.0) -> None:
        super().__init__()
        check_width("SRUPP", "dim", dim)
        self.rank = max(1, dim // 4) if rank is None else rank
        check_width("SRUPP", "rank", self.rank)
        if memory is not None:
            check_window("SRUPP", memory)
        check_probability("SRUPP", "dropout", dropout)
        self.dim, self.dropout = dim, dropout
        self.projection = (
            LowRank(dim, self.rank) if memory is None else LowRankAttention(dim, self.rank, memory, dropout)
        )
        self.norm = nn.LayerNorm(self.rank)
        self.output = _matrix(self.rank, 3 * dim)
        self.reset_cell = nn.Parameter(torch.empty(dim).uniform_(-1.0, 1.0))
        self.forget_bias = nn.Parameter(torch.zeros(dim))
        self.reset_bias = nn.Parameter(torch.full((dim,), FIRST_HIGHWAY))

    @property
    def state_knob(self) -> str:
        """See `interfaces.HasStateKnob`: the memory, where there is one."""
        return "memory" if isinstance(self.projection, LowRankAttention) else "dim"

    def initial_state(self, batch: int) -> SRUPPState:
        c = self.reset_cell.new_zeros(batch, self.dim)
        return SRUPPState(c, self.projection.initial_state(batch))

    def forward(self, x: Tensor, state: SRUPPState) -> tuple[Tensor, SRUPPState]:
        projected, memory = self._projected(x, state)
        drive, forget, reset = map(full_precision, projected.chunk(3, dim=-1))
        write = torch.sigmoid(-(forget + self.forget_bias))  # 1 - f, exact where f is near 1
        first = full_precision(state.c)
        c = linear_recurrence(1.0 - write, write * drive, first)
        before = torch.cat([first.unsqueeze(0), c[:-1]])  # c_{t-1}
        share = torch.sigmoid(reset + self.reset_cell * before + self.reset_bias)
        y = share * c + (1.0 - share) * x
        return y.to(x.dtype), SRUPPState(c[-1].to(state.c.dtype, copy=True), memory)

    def _projected(self, x: Tensor, state: SRUPPState) -> tuple[Tensor, Memory | None]:
        """U, F and G (T, B, 3 D), and the next memory."""
        low, memory = self.projection(x, x, state.attention)
        low = self.norm(low)
        return F.linear(dropout(low, self.dropout, self.training), self.output), memory

    def retention(self, x: Tensor, state: SRUPPState) -> Tensor:
        """The forget gate; see `interfaces.HasForgetGate`."""
        forget = full_precision(self._projected(x, state)[0].chunk(3, dim=-1)[1])
        return torch.sigmoid(forget + self.forget_bias)

    def macs(self) -> int:
        return self.projection.macs() + 3 * self.dim * self.rank


class LowRank(nn.Module):
    """Q = W_q x, in a layer without attention.

    Shapes: as LowRankAttention, without a state.
    """

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        self.query = _matrix(dim, rank)

    def initial_state(self, batch: int) -> None:
        return None

    def forward(self, queries: Tensor, source: Tensor, state: None) -> tuple[Tensor, None]:
        return F.linear(source, self.query), None

    def macs(self) -> int:
        return self.query.numel()


class LowRankAttention(nn.Module):
    """Q + alpha A, with A of one head of width R: keys and values are projected from the R numbers that are Q.

    Shapes: queries and source are the same x (T, B, D) -> Q + alpha A (T, B, R); state (M', B, D), M' <= memory - 1.
    """

    def __init__(self, dim: int, rank: int, memory: int, dropout: float) -> None:
        super().__init__()
        self.rank, self.memory, self.dropout = rank, memory, dropout
        self.query = _matrix(dim, rank)
        self.key_value = _matrix(rank, 2 * rank)
        self.alpha = nn.Parameter(torch.zeros(1))

    def initial_state(self, batch: int) -> Memory:
        return Memory(self.query.new_zeros(0, batch, self.query.shape[1]))

    def forward(self, queries: Tensor, source: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        memory = state.positions
        hidden = hidden_from(len(queries), len(memory), self.memory, queries.device)
        low, keys, values = self._projected(source, memory)
        y = self._read(self._weights(low, keys, hidden), low, values)
        return y, Memory(next_memory(memory, source, self.memory))

    def weights(self, queries: Tensor, source: Tensor, memory: Tensor, hidden: Tensor) -> Tensor:
        """(B, 1, T, M' + T); see `interfaces.HasAttentionWeights`."""
        low, keys, _ = self._projected(source, memory)
        return self._weights(low, keys, hidden).unsqueeze(1)

    def read(self, weights: Tensor, source: Tensor, memory: Tensor) -> Tensor:
        """Q + alpha A (T, B, R), with A under those weights."""
        low, _, values = self._projected(source, memory)
        return self._read(weights.squeeze(1), low, values)

    def macs(self) -> int:
        return self.query.numel() + 2 * self.rank * (self.rank + self.memory)

    def _projected(self, source: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Q of source (T, B, R), K and V of the memory and source (M' + T, B, R)."""
        seen = F.linear(torch.cat([memory.to(source.dtype), source]), self.query)
        keys, values = F.linear(seen, self.key_value).chunk(2, dim=-1)
        return seen[len(memory) :], keys, values

    def _weights(self, low: Tensor, keys: Tensor, hidden: Tensor) -> Tensor:
        scores = low.transpose(0, 1) @ keys.permute(1, 2, 0) * self.rank**-0.5  # (B, T, M' + T)
        return full_precision(scores).masked_fill(hidden, -torch.inf).softmax(dim=-1).to(scores.dtype)

    def _read(self, weights: Tensor, low: Tensor, values: Tensor) -> Tensor:
        dropped = dropout(weights, self.dropout, self.training, batch_dim=0)
        return low + self.alpha * (dropped @ values.transpose(0, 1)).transpose(0, 1)


def _matrix(inputs: int, outputs: int) -> nn.Parameter:
    weight = torch.empty(outputs, inputs)
    nn.init.xavier_uniform_(weight)
    return nn.Parameter(weight)

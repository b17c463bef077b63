"""SRU++ core."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.errors import check_probability, check_width
from rnnlab.ops.dropout import dropout
from rnnlab.ops.recurrence import full_precision, linear_recurrence
from rnnlab.ops.window import check_window, hidden_from, next_memory
from rnnlab.registry import register

FIRST_HIGHWAY = -2.0  # bias of the gate between the input and the cell: at first it passes the input


class SRUPPState(NamedTuple):
    c: Tensor  # (B, D) cell
    memory: Tensor | None  # (M', B, D) last inputs, oldest first, M' <= memory - 1; None without attention


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
        which is normalized. As in the source, the attention has no positions.
    """

    def __init__(self, dim: int, rank: int | None = None, memory: int | None = 1024, dropout: float = 0.0) -> None:
        super().__init__()
        check_width("SRUPP", "dim", dim)
        self.rank = max(1, dim // 4) if rank is None else rank
        check_width("SRUPP", "rank", self.rank)
        if memory is not None:
            check_window("SRUPP", memory)
        check_probability("SRUPP", "dropout", dropout)
        self.dim, self.memory, self.dropout = dim, memory, dropout
        self.query = _matrix(dim, self.rank)
        self.key_value = None if memory is None else _matrix(self.rank, 2 * self.rank)
        self.alpha = None if memory is None else nn.Parameter(torch.zeros(1))
        self.norm = nn.LayerNorm(self.rank)
        self.output = _matrix(self.rank, 3 * dim)
        at_most = math.sqrt(1.5)  # v_r: uniform with variance 1/2, as in core.SRU
        self.reset_cell = nn.Parameter(torch.empty(dim).uniform_(-at_most, at_most))
        self.forget_bias = nn.Parameter(torch.zeros(dim))
        self.reset_bias = nn.Parameter(torch.full((dim,), FIRST_HIGHWAY))

    def initial_state(self, batch: int) -> SRUPPState:
        c = self.reset_cell.new_zeros(batch, self.dim)
        return SRUPPState(c, None if self.memory is None else self.reset_cell.new_zeros(0, batch, self.dim))

    def forward(self, x: Tensor, state: SRUPPState) -> tuple[Tensor, SRUPPState]:
        drive, forget, reset = map(full_precision, self._projected(x, state).chunk(3, dim=-1))
        write = torch.sigmoid(-(forget + self.forget_bias))  # 1 - f, exact where f is near 1
        first = full_precision(state.c)
        c = linear_recurrence(1.0 - write, write * drive, first)
        before = torch.cat([first.unsqueeze(0), c[:-1]])  # c_{t-1}
        share = torch.sigmoid(reset + self.reset_cell * before + self.reset_bias)
        y = share * c + (1.0 - share) * x
        memory = None
        if self.memory is not None and state.memory is not None:
            memory = next_memory(state.memory, x, self.memory)
        return y.to(x.dtype), SRUPPState(c[-1].to(state.c.dtype, copy=True), memory)

    def _projected(self, x: Tensor, state: SRUPPState) -> Tensor:
        """U, F and G (T, B, 3 D)."""
        low = F.linear(x, self.query)
        if self.alpha is not None and state.memory is not None:
            low = low + self.alpha * self._attended(low, state.memory)
        low = self.norm(low)
        return F.linear(dropout(low, self.dropout, self.training), self.output)

    def _attended(self, queries: Tensor, memory: Tensor) -> Tensor:
        """A (T, B, R)."""
        assert self.memory is not None
        assert self.key_value is not None
        keys = torch.cat([F.linear(memory.to(queries.dtype), self.query), queries])
        k, v = F.linear(keys, self.key_value).transpose(0, 1).chunk(2, dim=-1)  # (B, M' + T, R)
        hidden = hidden_from(len(queries), len(memory), self.memory, queries.device)
        scores = queries.transpose(0, 1) @ k.mT * self.rank**-0.5
        weights = full_precision(scores).masked_fill(hidden, -torch.inf).softmax(dim=-1).to(v.dtype)
        return (dropout(weights, self.dropout, self.training, batch_dim=0) @ v).transpose(0, 1)

    def retention(self, x: Tensor, state: SRUPPState) -> Tensor:
        """The forget gate; see `interfaces.HasForgetGate`."""
        forget = full_precision(self._projected(x, state).chunk(3, dim=-1)[1])
        return torch.sigmoid(forget + self.forget_bias)

    def macs(self) -> int:
        attention = 0 if self.memory is None else 2 * self.rank * self.rank + 2 * self.memory * self.rank
        return 4 * self.dim * self.rank + attention


def _matrix(inputs: int, outputs: int) -> nn.Parameter:
    weight = torch.empty(outputs, inputs)
    nn.init.xavier_uniform_(weight)
    return nn.Parameter(weight)

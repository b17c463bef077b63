"""The smallest parts that obey every law, one a kind: they fill a block's slots when the block is what is tested."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnnlab.ops.dropout import dropout


class LeakyState(NamedTuple):
    h: Tensor  # (B, D)


class Leaky(nn.Module):
    """A leaky integrator: h_t = a h_{t-1} + (1 - a) tanh(W x_t), a = sigmoid(leak).

    Shapes: x (T, B, D) -> y (T, B, D); state h (B, D).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.input = nn.Linear(dim, dim)
        self.leak = nn.Parameter(torch.zeros(dim))

    def initial_state(self, batch: int) -> LeakyState:
        return LeakyState(self.leak.new_zeros(batch, self.leak.numel()))

    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        a = torch.sigmoid(self.leak)
        h = state.h
        outputs = []
        for z in torch.tanh(self.input(x)):
            h = a * h + (1 - a) * z
            outputs.append(h)
        return torch.stack(outputs).to(x.dtype), LeakyState(h.to(state.h.dtype))

    def macs(self) -> int:
        return self.input.weight.numel() + 2 * self.leak.numel()


class WindowState(NamedTuple):
    memory: Tensor  # (M', B, D), M' <= memory - 1


class Window(nn.Module):
    """Softmax attention of projected queries over a sliding window of raw sources.

    Shapes: queries, source (T, B, D) -> y (T, B, D); state (M', B, D), M' <= memory - 1.
    """

    def __init__(self, dim: int, memory: int = 8, dropout: float = 0.0) -> None:
        super().__init__()
        self.memory, self.dropout = memory, dropout
        self.query = nn.Linear(dim, dim)

    def initial_state(self, batch: int) -> WindowState:
        return WindowState(self.query.weight.new_zeros(0, batch, self.query.in_features))

    def forward(self, queries: Tensor, source: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        keys = torch.cat([state.memory, source])
        scores = torch.einsum("tbd,mbd->btm", self.query(queries), keys) / keys.shape[-1] ** 0.5
        here = torch.arange(len(state.memory), len(keys))
        back = here[:, None] - torch.arange(len(keys))
        weights = scores.masked_fill((back < 0) | (back >= self.memory), -torch.inf).softmax(-1)
        weights = dropout(weights, self.dropout, self.training, batch_dim=0)
        y = torch.einsum("btm,mbd->tbd", weights, keys)
        return y.to(queries.dtype), WindowState(keys[max(0, len(keys) - self.memory + 1) :])

    def macs(self) -> int:
        return self.query.weight.numel() + 2 * self.memory * self.query.in_features


class TwoLayers(nn.Module):
    """One hidden layer of the same width: W_2 gelu(W_1 x).

    Shapes: x (T, B, D) -> (T, B, D).
    """

    def __init__(self, dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.enter = nn.Linear(dim, dim)
        self.leave = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        hidden = nn.functional.gelu(self.enter(x))
        return self.leave(dropout(hidden, self.dropout, self.training))  # type: ignore[no-any-return]

    def macs(self) -> int:
        return self.enter.weight.numel() + self.leave.weight.numel()

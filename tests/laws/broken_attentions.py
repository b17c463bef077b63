"""Attentions, each broken in one way."""

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.testing.small import Window, WindowState


class SeesOneTooFew(Window):
    def forward(self, queries: Tensor, source: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        self.memory -= 1
        try:
            return super().forward(queries, source, state) if self.memory else (source, state)
        finally:
            self.memory += 1


class SeesOneTooMany(Window):
    def forward(self, queries: Tensor, source: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        self.memory += 1
        try:
            return super().forward(queries, source, state)
        finally:
            self.memory -= 1


class TrimsOncePerChunk(Window):
    """As the first implementation did: within a chunk a query sees all that the chunk began with."""

    def forward(self, queries: Tensor, source: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        memory, self.memory = self.memory, len(state.memory) + len(source)
        try:
            y, _ = super().forward(queries, source, state)
        finally:
            self.memory = memory
        keys = torch.cat([state.memory, source])
        return y, WindowState(keys[max(0, len(keys) - memory + 1) :])


class AlignsItsMaskTopLeft(Window):
    """`is_causal=True` in front of a memory: query 0 sees key 0 and no more."""

    def forward(self, queries: Tensor, source: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        keys = torch.cat([state.memory, source])
        q, k = self.query(queries).transpose(0, 1), keys.transpose(0, 1)
        y = F.scaled_dot_product_attention(q, k, k, is_causal=True).transpose(0, 1)
        return y, super().forward(queries, source, state)[1]


class NeverTrims(Window):
    def forward(self, queries: Tensor, source: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        return super().forward(queries, source, state)[0], WindowState(torch.cat([state.memory, source]))


class TrimsByNegativeIndex(Window):
    """keys[-(memory - 1):], which at memory 1 is all of them."""

    def forward(self, queries: Tensor, source: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        y, _ = super().forward(queries, source, state)
        return y, WindowState(torch.cat([state.memory, source])[-(self.memory - 1) :])


class AttendsToEmptySlots(Window):
    """Its memory starts full of zeros, which take their share of the softmax."""

    def initial_state(self, batch: int) -> WindowState:
        return WindowState(self.query.weight.new_zeros(self.memory - 1, batch, self.query.in_features))


class CostsTheSameAtAnyMemory(Window):
    def macs(self) -> int:
        return self.query.weight.numel()


class CountsTheQueryAsRemembered(Window):
    def state_size(self) -> int:
        return self.memory * self.query.in_features


class CallsItsMemoryAnotherName(Window):
    """Of which nobody can tell how far its state grows."""

    def __init__(self, dim: int, memory: int = 1024, dropout: float = 0.0) -> None:
        super().__init__(dim, memory, dropout)
        self.window = memory
        del self.memory

    def forward(self, queries: Tensor, source: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        self.memory = self.window
        try:
            return super().forward(queries, source, state)
        finally:
            del self.memory

    def macs(self) -> int:
        return self.query.weight.numel() + 2 * self.window * self.query.in_features

"""A memory written in place: what a generator keeps, where a state would be copied for every byte."""

import torch
from einops import rearrange
from torch import Tensor

from rnnlab import native

BATCH = 16  # keys that the kernel scores at a time


class Ring:
    """The newest positions, in no order: attention that knows no positions needs none.

    Args:
        positions: (M', B, D) to begin with; copied.
        window: positions kept, the one added last included [positions].
    """

    def __init__(self, positions: Tensor, window: int) -> None:
        self.window, self.filled, self._oldest = window, len(positions), 0
        self._room = positions.new_empty(min(window, 2 * len(positions) + 64), *positions.shape[1:])
        self._room[: self.filled] = positions

    @property
    def positions(self) -> Tensor:
        """(filled, B, D), a view."""
        return self._room[: self.filled]

    def add(self, position: Tensor) -> None:
        """(B, D) in the place of the oldest, once the window is full."""
        if self.filled == self.window:
            self._room[self._oldest] = position
            self._oldest = (self._oldest + 1) % self.window
            return
        if self.filled == len(self._room):
            larger = self._room.new_empty(min(self.window, 2 * self.filled), *position.shape)
            larger[: self.filled] = self._room
            self._room = larger
        self._room[self.filled] = position
        self.filled += 1

    def attend(self, q: Tensor, heads: int) -> Tensor:
        """softmax(q K^T) K by head for q (B, D), scaled; (B, D)."""
        batch, dim = q.shape
        if native.serves(q, products=(torch.float32,)) and self._room.dtype == torch.float32:
            y, width = torch.empty_like(q), dim // heads
            room = torch.empty(torch.get_num_threads(), width + 2 + BATCH)
            native.run("attend_step", q.contiguous(), self._room, y, room, self.filled, batch, heads, width)
            return y
        keys = rearrange(self.positions, "m b (h d) -> m b h d", h=heads)
        scores = torch.einsum("bhd,mbhd->bhm", rearrange(q, "b (h d) -> b h d", h=heads), keys)
        exact = torch.promote_types(scores.dtype, torch.float32)
        weights = scores.to(exact).softmax(dim=-1).to(keys.dtype)
        return torch.einsum("bhm,mbhd->bhd", weights, keys).flatten(1)

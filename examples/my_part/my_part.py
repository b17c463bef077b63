"""A core of one's own: an exponential moving average with a decay learned for every channel."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnnlab.registry import register


class EmaState(NamedTuple):
    h: Tensor  # (B, D)


@register("core")
class Ema(nn.Module):
    """Exponential moving average of a projected input.

    Source: this example.
        a = sigmoid(decay),  h_t = a h_{t-1} + (1 - a) (W x_t + b)
    Shapes: x (T, B, D) -> y (T, B, D); state h (B, D).
    Args:
        dim: width D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.input = nn.Linear(dim, dim)
        self.decay = nn.Parameter(torch.linspace(-1.0, 4.0, dim))  # from two positions of memory to fifty

    def initial_state(self, batch: int) -> EmaState:
        return EmaState(self.decay.new_zeros(batch, len(self.decay)))

    def forward(self, x: Tensor, state: EmaState) -> tuple[Tensor, EmaState]:
        h, outputs = state.h, []
        for z in self.input(x):
            h = torch.lerp(z.to(h.dtype), h, torch.sigmoid(self.decay))  # the state keeps its dtype under autocast
            outputs.append(h)
        return torch.stack(outputs).to(x.dtype), EmaState(h)

    def macs(self) -> int:
        return self.input.weight.numel() + len(self.decay)

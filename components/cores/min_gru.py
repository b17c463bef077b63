"""minGRU core."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnnlab.components.cores._affine import Affine, in_one_product
from rnnlab.errors import check_width
from rnnlab.ops.min_gru import min_gru_scan
from rnnlab.ops.recurrence import full_precision
from rnnlab.registry import register


class MinGRUState(NamedTuple):
    h: Tensor  # (B, D) output


@register("core")
class MinGRU(nn.Module):
    """A GRU stripped until its recurrence is linear: one gate, and nothing that looks at the previous output.

    Source: Feng et al. 2024, arXiv:2410.01201, section 3.1.
        z = sigmoid(W_z x_t + b_z),  n = W_n x_t + b_n,  h_t = (1 - z) h_{t-1} + z n
    Shapes: x (T, B, D) -> y (T, B, D); state h (B, D).
    Args:
        dim: width D.
    Raises: ConfigError if dim < 1.
    Differs: scanned in place rather than in logarithms, so that n may be negative.
    """

    state_knob = "dim"

    def __init__(self, dim: int) -> None:
        super().__init__()
        check_width("MinGRU", "dim", dim)
        self.dim = dim
        self.candidate = Affine(dim, dim, bound=dim**-0.5)
        self.update = Affine(dim, dim, bound=dim**-0.5)

    def initial_state(self, batch: int) -> MinGRUState:
        return MinGRUState(self.candidate.weight.new_zeros(batch, self.dim))

    def forward(self, x: Tensor, state: MinGRUState) -> tuple[Tensor, MinGRUState]:
        projected = in_one_product(x, self.candidate, self.update)
        h = min_gru_scan(projected, state.h)
        return h.to(projected.dtype), MinGRUState(h[-1].to(state.h.dtype, copy=True))

    def retention(self, x: Tensor, state: MinGRUState) -> Tensor:
        """1 - z; see `interfaces.HasForgetGate`."""
        return torch.sigmoid(-full_precision(self.update(x)))

    def macs(self) -> int:
        return 2 * self.dim * self.dim

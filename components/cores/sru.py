"""SRU core."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnnlab.components.cores._affine import Affine, in_one_product
from rnnlab.errors import check_width
from rnnlab.ops.recurrence import full_precision
from rnnlab.ops.sru import sru_scan
from rnnlab.registry import register

GATES = math.sqrt(
    0.5
)  # what the authors' code scales the weights of both gates by: matrix and v_r add up to variance 1


class SRUState(NamedTuple):
    c: Tensor  # (B, D) cell


@register("core")
class SRU(nn.Module):
    """Simple recurrent unit: a linear recurrence under a highway to the input.

    Source: Lei et al. 2018, arXiv:1709.02755, section 3, with the initialization of its code (asappresearch/sru).
        f = sigmoid(W_f x_t + b_f),  c_t = f c_{t-1} + (1 - f) (W x_t)
        r = sigmoid(W_r x_t + v_r c_{t-1} + b_r),  h_t = r c_t + (1 - r) alpha x_t,  alpha = sqrt(3)
    Shapes: x (T, B, D) -> y (T, B, D); state c (B, D).
    Args:
        dim: width D.
    Raises: ConfigError if dim < 1.
    Differs: the forget gate does not see c_{t-1}, as in the paper's first version: with v_f the recurrence would not be
        linear and no scan would serve it.
    """

    state_knob = "dim"

    def __init__(self, dim: int) -> None:
        super().__init__()
        check_width("SRU", "dim", dim)
        self.dim = dim
        bound = math.sqrt(3 / dim)
        self.candidate_weight = nn.Parameter(torch.empty(dim, dim).uniform_(-bound, bound))
        self.forget = Affine(dim, dim, bound * GATES)
        self.reset = Affine(dim, dim, bound * GATES)
        at_most = math.sqrt(3) * GATES
        self.reset_cell = nn.Parameter(torch.empty(dim).uniform_(-at_most, at_most))  # v_r
        nn.init.zeros_(self.forget.bias)
        nn.init.zeros_(self.reset.bias)  # alpha belongs to this start of the highway: sqrt(1 + 2 exp(b_r))

    def initial_state(self, batch: int) -> SRUState:
        return SRUState(self.candidate_weight.new_zeros(batch, self.dim))

    def forward(self, x: Tensor, state: SRUState) -> tuple[Tensor, SRUState]:
        projected = in_one_product(x, self.candidate_weight, self.forget, self.reset)
        y, c = sru_scan(projected, x, self.reset_cell, state.c)
        return y.to(projected.dtype), SRUState(c.to(state.c.dtype, copy=True))

    def retention(self, x: Tensor, state: SRUState) -> Tensor:
        """The forget gate; see `interfaces.HasForgetGate`."""
        return torch.sigmoid(full_precision(self.forget(x)))

    def macs(self) -> int:
        return 3 * self.dim * self.dim

"""RG-LRU core."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.components.cores._affine import Affine, in_one_product
from rnnlab.errors import check_width
from rnnlab.ops.recurrence import full_precision
from rnnlab.ops.rg_lru import rg_lru_scan
from rnnlab.registry import register

SHARPNESS = 8.0  # the paper's c


class RGLRUState(NamedTuple):
    h: Tensor  # (B, D) recurrence


@register("core")
class RGLRU(nn.Module):
    """Real-gated linear recurrent unit of Griffin: slow decays that a gate shortens, seen through a gated branch.

    Source: De et al. 2024, arXiv:2402.19427, sections 2.3 and 2.4; the decay in logarithms from appendix A.
        r = sigmoid(W_a x_t + b_a),  i = sigmoid(W_x x_t + b_x)
        log a = 8 r log sigmoid(decay),  h_t = a h_{t-1} + sqrt(1 - a^2) (i x_t)
        y_t = gelu(W_y x_t + b_y) h_t
    Shapes: x (T, B, D) -> y (T, B, D); state h (B, D).
    Args:
        dim: width D.
    Raises: ConfigError if dim < 1.
    Differs: of Griffin's recurrent block the gated branch is kept, since in h alone the present position drowns in its
        long past; the convolution and the two outer projections are left to the block around the core. Full gate
        matrices, as in the equations, not block-diagonal ones. A stream has no first position: it is scaled by
        sqrt(1 - a^2) like all others, where the authors' code (google-deepmind/recurrentgemma) scales by 1. The decays
        are those of the paper, sigmoid(decay)^8 in [0.9, 0.999]; the code draws sigmoid(decay) from that range. The
        branch is drawn as torch draws a linear layer, and its gelu is exact, where the code has the form with tanh.
    """

    state_knob = "dim"

    def __init__(self, dim: int) -> None:
        super().__init__()
        check_width("RGLRU", "dim", dim)
        self.dim = dim
        self.recurrence = Affine(dim, dim, bound=0.0)
        self.input = Affine(dim, dim, bound=0.0)
        for gate in (self.recurrence, self.input):
            nn.init.normal_(gate.weight, std=dim**-0.5)
        self.branch = Affine(dim, dim, bound=dim**-0.5)
        slowest = torch.empty(dim).uniform_(0.9, 0.999)  # sigmoid(decay)^8: what a is where r = 1
        self.decay = nn.Parameter(torch.logit(slowest ** (1 / SHARPNESS)))

    def initial_state(self, batch: int) -> RGLRUState:
        return RGLRUState(self.decay.new_zeros(batch, self.dim))

    def forward(self, x: Tensor, state: RGLRUState) -> tuple[Tensor, RGLRUState]:
        projected = in_one_product(x, self.recurrence, self.input, self.branch)
        gates, branch = projected.split_with_sizes([2 * self.dim, self.dim], dim=-1)
        branch = branch.contiguous()  # kept for the backward, where a view would keep all of it
        h = rg_lru_scan(gates, x, self._slowest(), state.h)
        return F.gelu(branch) * h.to(branch.dtype), RGLRUState(h[-1].to(state.h.dtype, copy=True))

    def _slowest(self) -> Tensor:
        """log a where its gate is 1: (D,)."""
        return SHARPNESS * F.logsigmoid(full_precision(self.decay))

    def retention(self, x: Tensor, state: RGLRUState) -> Tensor:
        """a; see `interfaces.HasForgetGate`."""
        return (torch.sigmoid(full_precision(self.recurrence(x))) * self._slowest()).exp()

    def macs(self) -> int:
        return 3 * self.dim * self.dim

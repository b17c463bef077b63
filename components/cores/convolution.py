"""A core without recurrence."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnnlab.components.cores._affine import Affine
from rnnlab.errors import check_width
from rnnlab.registry import register


class ConvolutionState(NamedTuple):
    x: Tensor  # (width - 1, B, D) last inputs, oldest first


@register("core")
class Convolution(nn.Module):
    """Gated convolution over the last few inputs: the control that has no recurrence.

    Source: van den Oord et al. 2016, arXiv:1606.05328, section 2.1, equation 2.
        z = tanh(W_z * x),  o = sigmoid(W_o * x)    causal convolutions over the last `width` inputs
        y_t = o_t z_t
    Shapes: x (T, B, D) -> y (T, B, D); state x (width - 1, B, D), zeros at the start.
    Args:
        dim: width D.
        width: inputs that each output sees, its own included [positions], >= 1; with 1 each sees its own alone.
    Raises: ConfigError if dim < 1 or width < 1.
    Differs: along time in place of an image's two dimensions; biases; one stack of layers, with no convolution of
        width 1 and no residual path behind the gates. Dauphin et al. 2016, arXiv:1612.08083, equation 1, leave out
        the tanh. Names and initialization are those of QRNN, which is this where its forget gate is 0.
    """

    state_knob = "width"

    def __init__(self, dim: int, width: int = 1) -> None:
        super().__init__()
        check_width("Convolution", "dim", dim)
        check_width("Convolution", "width", width)
        self.dim, self.width = dim, width
        self.candidate = Affine(width * dim, dim, bound=(width * dim) ** -0.5)
        self.output = Affine(width * dim, dim, bound=(width * dim) ** -0.5)

    @property
    def reach(self) -> int:
        """Positions back, its own not counted [positions]; see `interfaces.HasReach`."""
        return self.width - 1

    def initial_state(self, batch: int) -> ConvolutionState:
        return ConvolutionState(self.candidate.weight.new_zeros(self.width - 1, batch, self.dim))

    def forward(self, x: Tensor, state: ConvolutionState) -> tuple[Tensor, ConvolutionState]:
        inputs = torch.cat([state.x.to(x.dtype), x])  # (width - 1 + T, B, D)
        seen = torch.cat([inputs[first : first + len(x)] for first in range(self.width)], dim=-1)  # (T, B, width D)
        y = torch.sigmoid(self.output(seen)) * torch.tanh(self.candidate(seen))
        return y, ConvolutionState(inputs[len(x) :].to(state.x.dtype, copy=True))

    def macs(self) -> int:
        return 2 * self.width * self.dim * self.dim

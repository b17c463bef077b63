"""QRNN core."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnnlab.components.cores._affine import Affine
from rnnlab.errors import ConfigError, check_probability, check_width
from rnnlab.ops.qrnn import Gates, qrnn_layer
from rnnlab.ops.recurrence import full_precision
from rnnlab.registry import register


class QRNNState(NamedTuple):
    c: Tensor  # (B, D) cell
    x: Tensor | None  # (B, D) last input, which width 2 looks back at; None at width 1


@register("core")
class QRNN(nn.Module):
    """Quasi-recurrent network: gates from a convolution over the input, fo-pooling along time, zoneout.

    Source: Bradbury et al. 2016, arXiv:1611.01576, sections 2 and 2.1.
        z = tanh(W_z * x),  f = sigmoid(W_f * x),  o = sigmoid(W_o * x)    causal convolutions of width 1 or 2
        c_t = f_t c_{t-1} + (1 - f_t) z_t,  h_t = o_t c_t
    Shapes: x (T, B, D) -> y (T, B, D); state c (B, D) and, at width 2, the last input x (B, D).
    Args:
        dim: width D.
        width: positions the convolution sees, 1 or 2 [positions].
        zoneout: chance in training that a channel keeps its cell for a position [probability], in [0, 1).
    Raises: ConfigError if dim < 1, width is not 1 or 2, or zoneout is outside [0, 1).
    Differs: once training is over a channel moves by the expected share 1 - zoneout, as in Krueger et al. 2016; biases.
    """

    state_knob = "dim"

    def __init__(self, dim: int, width: int = 1, zoneout: float = 0.0) -> None:
        super().__init__()
        check_width("QRNN", "dim", dim)
        if width not in (1, 2):
            raise ConfigError(f"QRNN.width = {width}: the convolution sees 1 or 2 positions")
        check_probability("QRNN", "zoneout", zoneout)
        self.dim, self.width, self.zoneout = dim, width, zoneout
        self.candidate = Affine(width * dim, dim, bound=(width * dim) ** -0.5)
        self.forget = Affine(width * dim, dim, bound=(width * dim) ** -0.5)
        self.output = Affine(width * dim, dim, bound=(width * dim) ** -0.5)

    def initial_state(self, batch: int) -> QRNNState:
        zeros = self.candidate.weight.new_zeros(batch, self.dim)
        return QRNNState(zeros, zeros if self.width == 2 else None)

    def forward(self, x: Tensor, state: QRNNState) -> tuple[Tensor, QRNNState]:
        last = None if state.x is None else x[-1].to(state.x.dtype, copy=True)
        gates = Gates(*((gate.weight, gate.bias) for gate in (self.candidate, self.forget, self.output)))
        y, c = qrnn_layer(self._seen(x, state), gates, state.c, self.zoneout, self.training)
        return y, QRNNState(c, last)

    def _seen(self, x: Tensor, state: QRNNState) -> Tensor:
        """What the convolution sees at each position: (T, B, width D)."""
        if state.x is None:
            return x
        previous = torch.cat([state.x.unsqueeze(0).to(x.dtype), x[:-1]])
        return torch.cat([previous, x], dim=-1)

    def retention(self, x: Tensor, state: QRNNState) -> Tensor:
        """The forget gate, as zoneout leaves it once training is over; see `interfaces.HasForgetGate`."""
        return 1.0 - torch.sigmoid(-full_precision(self.forget(self._seen(x, state)))) * (1.0 - self.zoneout)

    def macs(self) -> int:
        return 3 * self.width * self.dim * self.dim

"""LSTM core."""

from typing import NamedTuple

from torch import Tensor, nn

from rnnlab.errors import check_probability, check_width
from rnnlab.ops.dropout import dropout
from rnnlab.ops.lstm import forget_gate, lstm_layer
from rnnlab.registry import register


class LSTMState(NamedTuple):
    h: Tensor  # (B, D) output
    c: Tensor  # (B, D) cell


@register("core")
class LSTM(nn.Module):
    """Long short-term memory, one layer, with optional DropConnect on the hidden-to-hidden weights.

    Source: Hochreiter & Schmidhuber 1997 with the forget gate of Gers 2000; DropConnect as in Merity 2017,
    arXiv:1708.02182, section 2.
        i, f, o = sigmoid(W x_t + U h_{t-1} + b),  g = tanh(W_g x_t + U_g h_{t-1} + b_g)
        c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)
    Shapes: x (T, B, D) -> y (T, B, D); state h (B, D), c (B, D).
    Args:
        dim: width D.
        dropconnect: chance that a hidden-to-hidden weight is zero for a chunk in training [probability], in [0, 1).
    Raises: ConfigError if dim < 1 or dropconnect is outside [0, 1).
    Differs: two bias vectors, as in torch, of which one would do.
    """

    stays_eager = True
    state_knob = "dim"

    def __init__(self, dim: int, dropconnect: float = 0.0) -> None:
        super().__init__()
        check_width("LSTM", "dim", dim)
        check_probability("LSTM", "dropconnect", dropconnect)
        self.dim = dim
        self.dropconnect = dropconnect
        self.lstm = nn.LSTM(dim, dim)

    def initial_state(self, batch: int) -> LSTMState:
        zeros = next(self.parameters()).new_zeros(batch, self.dim)
        return LSTMState(zeros, zeros)

    def forward(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        weights = self._weights()
        if self.training and self.dropconnect:
            weights[1] = dropout(weights[1], self.dropconnect, True, batch_dim=None)  # one mask for the whole batch
        y, h, c = lstm_layer(x, weights, state.h, state.c)
        return y, LSTMState(h, c)

    def retention(self, x: Tensor, state: LSTMState) -> Tensor:
        """The forget gate; see `interfaces.HasForgetGate`."""
        return forget_gate(x, self(x, state)[0], self._weights(), state.h)

    def _weights(self) -> list[Tensor]:
        # By name: torch.export takes what `_flat_weights` lists for constants, and writes every weight twice.
        return [getattr(self.lstm, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]

    def macs(self) -> int:
        return 8 * self.dim * self.dim

"""GRU core."""

from typing import NamedTuple

from torch import Tensor, nn

from rnnlab.errors import check_width
from rnnlab.ops.gru import gru_layer, update_gate
from rnnlab.registry import register


class GRUState(NamedTuple):
    h: Tensor  # (B, D) output


@register("core")
class GRU(nn.Module):
    """Gated recurrent unit, one layer.

    Source: Cho et al. 2014, arXiv:1406.1078, section 2.3.
        r, z = sigmoid(W x_t + U h_{t-1} + b),  n = tanh(W_n x_t + b_n + r (U_n h_{t-1} + b_u))
        h_t = z h_{t-1} + (1 - z) n
    Shapes: x (T, B, D) -> y (T, B, D); state h (B, D).
    Args:
        dim: width D.
    Raises: ConfigError if dim < 1.
    Differs: the reset gate acts after the product with U_n, as in torch and cuDNN, and not on h_{t-1}.
    """

    stays_eager = True
    state_knob = "dim"

    def __init__(self, dim: int) -> None:
        super().__init__()
        check_width("GRU", "dim", dim)
        self.dim = dim
        self.gru = nn.GRU(dim, dim)

    def initial_state(self, batch: int) -> GRUState:
        return GRUState(next(self.gru.parameters()).new_zeros(batch, self.dim))

    def forward(self, x: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        y, h = gru_layer(x, self._weights(), state.h)
        return y, GRUState(h)

    def retention(self, x: Tensor, state: GRUState) -> Tensor:
        """The update gate z; see `interfaces.HasForgetGate`."""
        return update_gate(x, self(x, state)[0], self._weights(), state.h)

    def _weights(self) -> list[Tensor]:
        # By name: torch.export takes what `_flat_weights` lists for constants, and writes every weight twice.
        return [getattr(self.gru, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]

    def macs(self) -> int:
        return 6 * self.dim * self.dim

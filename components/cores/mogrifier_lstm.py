"""Mogrifier LSTM core."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.components.cores._affine import Affine
from rnnlab.components.cores._mixer import Projection
from rnnlab.components.cores.lstm import LSTMState
from rnnlab.errors import ConfigError, check_width
from rnnlab.registry import register


class _LowRank(nn.Module):
    """W = left right, of a rank; or W itself for rank 0."""

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        self.factors = nn.Sequential(
            *([Projection(dim, rank), Projection(rank, dim)] if rank else [Projection(dim, dim)])
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.factors(x)
        return y


@register("core")
class MogrifierLSTM(nn.Module):
    """LSTM whose input and previous output gate each other, in turns, before each step.

    Source: Melis et al. 2019, arXiv:1909.01792, section 2.
        x <- 2 sigmoid(Q_i h) x for odd i,  h <- 2 sigmoid(R_i x) h for even i,  i = 1 ... rounds
        then a step of the LSTM on them: see core.LSTM
    Shapes: x (T, B, D) -> y (T, B, D); state h (B, D), c (B, D).
    Args:
        dim: width D.
        rounds: how often one gates the other; 0 leaves an LSTM.
        rank: of Q and R, as products of two matrices; 0 for full ones.
    Raises: ConfigError if dim < 1, or rounds or rank is negative.
    Differs: Q and R have no bias, as in the paper's equations; the authors' code (deepmind/lamb) has one, caps the
        input gate at 1 - f, and adds 1 to the forget gate. The weights are drawn as torch draws an LSTM's.
    """

    stays_eager = True
    state_knob = "dim"

    def __init__(self, dim: int, rounds: int = 5, rank: int = 0) -> None:
        super().__init__()
        check_width("MogrifierLSTM", "dim", dim)
        for name, value in (("rounds", rounds), ("rank", rank)):
            if value < 0:
                raise ConfigError(f"MogrifierLSTM.{name} = {value}: 0 or more")
        self.dim, self.rounds, self.rank = dim, rounds, rank
        self.input, self.recurrent = (Affine(dim, 4 * dim, bound=dim**-0.5) for _ in range(2))
        self.gates = nn.ModuleList(_LowRank(dim, rank) for _ in range(rounds))

    def initial_state(self, batch: int) -> LSTMState:
        zeros = self.input.bias.new_zeros(batch, self.dim)
        return LSTMState(zeros, zeros)

    def forward(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        h, c, outputs = state.h.to(x.dtype), state.c.to(x.dtype), []
        for x_t in x:
            h, c = torch.lstm_cell(*self._mogrified(x_t, h, c), *self._weights())
            outputs.append(h)
        return torch.stack(outputs), LSTMState(h.to(state.h.dtype, copy=True), c.to(state.c.dtype, copy=True))

    def _mogrified(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """What a step of the LSTM takes."""
        for number, gate in enumerate(self.gates):
            if number % 2 == 0:
                x = 2 * torch.sigmoid(gate(h)) * x
            else:
                h = 2 * torch.sigmoid(gate(x)) * h
        return x, (h, c)

    def retention(self, x: Tensor, state: LSTMState) -> Tensor:
        """The forget gate; see `interfaces.HasForgetGate`."""
        before = torch.cat([state.h.to(x.dtype).unsqueeze(0), self(x, state)[0][:-1]])
        x, (h, _) = self._mogrified(x, before, before)  # each position by itself, given the output before it
        w, u, w_bias, u_bias = (weight[self.dim : 2 * self.dim] for weight in self._weights())
        return torch.sigmoid(F.linear(x, w, w_bias) + F.linear(h, u, u_bias))

    def _weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.input.weight, self.recurrent.weight, self.input.bias, self.recurrent.bias

    def macs(self) -> int:
        return 8 * self.dim * self.dim + self.rounds * (2 * self.rank * self.dim if self.rank else self.dim * self.dim)

"""sLSTM core."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnnlab.components.cores._mixer import BlockProjection, HeadNorm, ShortConvolution, by_head
from rnnlab.errors import check_heads, check_width
from rnnlab.ops.recurrence import full_precision
from rnnlab.ops.slstm import SLSTMCell, slstm
from rnnlab.registry import register

FIRST_FORGET = (3.0, 6.0)  # bias of the forget gate, from the first channel of a head to the last


class SLSTMState(NamedTuple):
    past: Tensor  # (width - 1, B, D) last inputs of the convolution, oldest first
    cell: SLSTMCell  # four of (H, B, D/H)


@register("core")
class SLSTM(nn.Module):
    """LSTM with an exponential input gate and a sum of its gates as a divisor: the nonlinear half of the xLSTM.

    Source: Beck et al. 2024, arXiv:2405.04517, section 2.2; what stands around the recurrence from figure 10.
        i, f = W silu(conv(x)) + R h_{t-1} + b,  z, o = W x + R h_{t-1} + b    W, R block-diagonal, a block a head
        c_t = sigmoid(f) c_{t-1} + exp(i) tanh(z),  n_t = sigmoid(f) n_{t-1} + exp(i)
        h_t = sigmoid(o) c_t / n_t,  y_t = norm(h_t)
    Shapes: x (T, B, D) -> y (T, B, D); state past (width - 1, B, D), cell h, c, n, m (H, B, D/H).
    Args:
        dim: width D, a multiple of heads.
        heads: H, >= 1.
        width: inputs the convolution sees, its own included [positions], >= 1.
    Raises: ConfigError if dim < 1, heads < 1, width < 1, or dim is no multiple of heads.
    Differs: RMSNorm for each head in place of LayerNorm; the feed-forward layer is the block's. W is drawn as torch
        draws a linear layer's; R starts at 0, as in the authors' code (NX-AI/xlstm). The forget gate's bias begins as
        under that code's `small_init`, 3 to 6 within a head; by default it falls there from 5 to -7, by a power that
        depends on the depth of the block, which a part does not know.
    """

    stays_eager = True
    state_knob = "dim"

    def __init__(self, dim: int, heads: int = 4, width: int = 4) -> None:
        super().__init__()
        check_width("SLSTM", "dim", dim)
        check_width("SLSTM", "width", width)
        check_heads("SLSTM", heads, dim)
        self.dim, self.heads, self.width = dim, heads, width
        each = dim // heads
        self.convolution = ShortConvolution(dim, width)
        self.input, self.forget, self.candidate, self.gate = (BlockProjection(dim, each) for _ in range(4))
        self.recurrent = nn.Parameter(torch.zeros(heads, each, 4 * each))
        bias = torch.zeros(heads, 4, each)
        bias[:, 1] = torch.linspace(*FIRST_FORGET, each)
        self.bias = nn.Parameter(bias.flatten())
        self.norm = HeadNorm(heads, each)

    def initial_state(self, batch: int) -> SLSTMState:
        zeros = self.bias.new_zeros(self.heads, batch, self.dim // self.heads)
        return SLSTMState(self.convolution.initial_past(batch), SLSTMCell(zeros, zeros, zeros, zeros))

    def forward(self, x: Tensor, state: SLSTMState) -> tuple[Tensor, SLSTMState]:
        drive, past = self._drive(x, state)
        h, cell = slstm(drive, full_precision(self.recurrent), SLSTMCell(*map(full_precision, state.cell)))
        y = self.norm(h.transpose(1, 2)).flatten(-2)  # (T, B, D)
        kept = SLSTMCell(*(new.to(old.dtype, copy=True) for new, old in zip(cell, state.cell, strict=True)))
        return y.to(x.dtype), SLSTMState(past, kept)

    def _drive(self, x: Tensor, state: SLSTMState) -> tuple[Tensor, Tensor]:
        """(T, H, B, 4 D/H): what each position adds by itself."""
        mixed, past = self.convolution(x, state.past)
        parts = (self.input(mixed), self.forget(mixed), self.candidate(x), self.gate(x))
        split = torch.stack([by_head(full_precision(part), self.heads) for part in parts], dim=-2)
        return (split.flatten(-2) + self.bias.reshape(self.heads, -1)).transpose(1, 2), past

    def retention(self, x: Tensor, state: SLSTMState) -> Tensor:
        """sigmoid(f), which the input gate shortens; see `interfaces.HasForgetGate`."""
        drive, _ = self._drive(x, state)
        h = slstm(drive, full_precision(self.recurrent), SLSTMCell(*map(full_precision, state.cell)))[0]
        before = torch.cat([full_precision(state.cell.h).unsqueeze(0), h[:-1]])
        raw = drive + before @ full_precision(self.recurrent)
        return torch.sigmoid(raw.chunk(4, dim=-1)[1]).transpose(1, 2).flatten(-2)

    def macs(self) -> int:
        return 8 * self.dim * self.dim // self.heads + self.dim * self.width

"""Mamba-2 core."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.components.cores._mixer import HeadNorm, Projection, ShortConvolution, by_head, decay_bias, decay_rates
from rnnlab.errors import check_heads, check_width
from rnnlab.ops.fast_weights import fast_weights, products
from rnnlab.ops.recurrence import full_precision
from rnnlab.registry import register


class Mamba2State(NamedTuple):
    past: Tensor  # (width - 1, B, 2 D + 2 N) last inputs of the convolution, oldest first
    memory: Tensor  # (H, N, B, 2 D/H)


@register("core")
class Mamba2(nn.Module):
    """A selective state space whose heads each have one decay: Mamba-2, computed by its duality with attention.

    Source: Dao & Gu 2024, arXiv:2405.21060, sections 2, 6 and 7.
        u, B, C = silu(conv(W x)),  z = W_z x,  step = softplus(W_s x + b),  a = exp(-A step)
        S_t = a S_{t-1} + B (step u)^T,  y_t = W_o norm((S_t^T C + skip u) silu(z))
    Shapes: x (T, B, D) -> y (T, B, D); state past (width - 1, B, 2 D + 2 N), memory (H, N, B, 2 D/H).
        u and z are 2 D wide; all heads share B and C.
    Args:
        dim: width D; 2 D is a multiple of heads.
        heads: H, >= 1.
        states: N, the state of each channel, >= 1.
        width: inputs the convolution sees, its own included [positions], >= 1.
    Raises: ConfigError if dim < 1, heads < 1, states < 1, width < 1, or 2 dim is not a multiple of heads.
    Differs: the authors' model divides the drawn W_o by the root of the number of layers, which a part does not know.
    """

    state_knob = "states"

    def __init__(self, dim: int, heads: int = 4, states: int = 64, width: int = 4) -> None:
        super().__init__()
        check_width("Mamba2", "dim", dim)
        check_width("Mamba2", "states", states)
        check_width("Mamba2", "width", width)
        check_heads("Mamba2", heads, 2 * dim)
        self.dim, self.heads, self.states, self.width = dim, heads, states, width
        self.inner = 2 * dim
        self.inputs = Projection(dim, self.inner + 2 * states)
        self.convolution = ShortConvolution(self.inner + 2 * states, width)
        self.gate = Projection(dim, self.inner)
        self.step = Projection(dim, heads)
        self.step_bias = nn.Parameter(decay_bias(heads))
        self.log_rate = nn.Parameter(decay_rates(heads))
        self.skip = nn.Parameter(torch.ones(heads))
        self.norm = HeadNorm(1, self.inner)
        self.output = Projection(self.inner, dim)

    def initial_state(self, batch: int) -> Mamba2State:
        memory = self.skip.new_zeros(self.heads, self.states, batch, self.inner // self.heads)
        return Mamba2State(self.convolution.initial_past(batch), memory)

    def forward(self, x: Tensor, state: Mamba2State) -> tuple[Tensor, Mamba2State]:
        mixed, past = self.convolution(self.inputs(x), state.past)
        u, written, asked = torch.split(full_precision(mixed), [self.inner, self.states, self.states], dim=-1)
        u = by_head(u, self.heads)
        step = self._step(x).unsqueeze(-1)
        k, q = (one.unsqueeze(-2).expand(*one.shape[:-1], self.heads, -1) for one in (written, asked))
        read, memory = fast_weights(q, k, step * u, self._log_decay(step), full_precision(state.memory))
        gated = (read + self.skip.unsqueeze(-1) * u).flatten(-2) * F.silu(full_precision(self.gate(x)))
        y: Tensor = self.output(self.norm(gated.unsqueeze(-2)).squeeze(-2).to(mixed.dtype))
        return y, Mamba2State(past, memory.to(state.memory.dtype))

    def _step(self, x: Tensor) -> Tensor:
        return F.softplus(full_precision(self.step(x)) + self.step_bias)  # (T, B, H)

    def _log_decay(self, step: Tensor) -> Tensor:
        return -self.log_rate.exp().unsqueeze(-1) * step  # (T, B, H, 1)

    def retention(self, x: Tensor, state: Mamba2State) -> Tensor:
        """a, a channel a head; see `interfaces.HasForgetGate`."""
        return self._log_decay(self._step(x).unsqueeze(-1)).exp().squeeze(-1)

    def macs(self) -> int:
        inputs = self.dim * (self.inner + 2 * self.states) + self.width * (self.inner + 2 * self.states)
        projections = inputs + 2 * self.dim * self.inner + self.dim * self.heads
        return projections + self.heads * products(self.states, self.inner // self.heads)

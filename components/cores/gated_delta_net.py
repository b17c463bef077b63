"""Gated DeltaNet core."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.components.cores._mixer import HeadNorm, Projection, ShortConvolution, by_head, decay_bias, decay_rates
from rnnlab.errors import check_heads, check_width
from rnnlab.ops.fast_weights import fast_weights, products
from rnnlab.ops.recurrence import full_precision
from rnnlab.registry import register

SMALLEST = 1e-6  # length of a key or a query that is not divided by


class GatedDeltaNetState(NamedTuple):
    past: Tensor  # (width - 1, B, 2 H K + D) last inputs of the convolution, oldest first
    memory: Tensor  # (H, K, B, D/H)


@register("core")
class GatedDeltaNet(nn.Module):
    """A memory of outer products that is corrected rather than added to, and that a gate forgets.

    Source: Yang et al. 2024, arXiv:2412.06464, section 3; negative eigenvalues from Grazzi et al. 2024,
    arXiv:2411.12537, section 4.
        q, k, v = silu(conv(W x)), q and k of length 1;  s = sigmoid(W_s x),  a = exp(-A softplus(W_a x + b))
        S_t = a (1 - s k k^T) S_{t-1} + s k v^T,  y_t = W_o (norm(S_t^T q / sqrt(K)) silu(W_g x))
    Shapes: x (T, B, D) -> y (T, B, D); state past (width - 1, B, 2 H K + D), memory (H, K, B, D/H).
    Args:
        dim: width D, a multiple of heads.
        heads: H, >= 1.
        width: inputs the convolution sees, its own included [positions], >= 1.
        negative: s in (0, 2) rather than in (0, 1), so that 1 - s k k^T has an eigenvalue in (-1, 1).
        key_width: K, of each head, >= 1; None: D/H.
    Raises: ConfigError if dim < 1, heads < 1, width < 1, key_width < 1, or dim is not a multiple of heads.
    Differs: values are D wide, and so are keys unless K is bound, where the paper's keys have 0.75 D and its values
        1.5 D. The weights are drawn as torch draws a linear layer's, A and b as Mamba-2's. The convolution has a bias,
        and the norm a gain for each head and channel.
    """

    state_knob = "key_width"

    def __init__(
        self, dim: int, heads: int = 4, width: int = 4, negative: bool = False, key_width: int | None = None
    ) -> None:
        super().__init__()
        check_width("GatedDeltaNet", "dim", dim)
        check_width("GatedDeltaNet", "width", width)
        check_heads("GatedDeltaNet", heads, dim)
        self.dim, self.heads, self.width, self.negative = dim, heads, width, negative
        self.key_width = dim // heads if key_width is None else key_width
        check_width("GatedDeltaNet", "key_width", self.key_width)
        mixed = 2 * heads * self.key_width + dim
        self.inputs = Projection(dim, mixed)
        self.convolution = ShortConvolution(mixed, width)
        self.strength = Projection(dim, heads)
        self.decay = Projection(dim, heads)
        self.log_rate = nn.Parameter(decay_rates(heads))
        self.decay_bias = nn.Parameter(decay_bias(heads))
        self.gate = Projection(dim, dim)
        self.norm = HeadNorm(heads, dim // heads)
        self.output = Projection(dim, dim)

    def initial_state(self, batch: int) -> GatedDeltaNetState:
        memory = self.log_rate.new_zeros(self.heads, self.key_width, batch, self.dim // self.heads)
        return GatedDeltaNetState(self.convolution.initial_past(batch), memory)

    def forward(self, x: Tensor, state: GatedDeltaNetState) -> tuple[Tensor, GatedDeltaNetState]:
        mixed, past = self.convolution(self.inputs(x), state.past)
        keys = self.heads * self.key_width
        parts = torch.split(full_precision(mixed), [keys, keys, self.dim], dim=-1)
        q, k, v = (by_head(part, self.heads) for part in parts)
        q, k = (F.normalize(one, dim=-1, eps=SMALLEST) for one in (q, k))
        strength = torch.sigmoid(full_precision(self.strength(x))) * (2.0 if self.negative else 1.0)
        log_decay = self._log_decay(x).unsqueeze(-1)
        read, memory = fast_weights(q, k, v, log_decay, full_precision(state.memory), strength)
        gated = self.norm(read * q.shape[-1] ** -0.5).flatten(-2) * F.silu(full_precision(self.gate(x)))
        y: Tensor = self.output(gated.to(mixed.dtype))
        return y, GatedDeltaNetState(past, memory.to(state.memory.dtype))

    def _log_decay(self, x: Tensor) -> Tensor:
        return -self.log_rate.exp() * F.softplus(full_precision(self.decay(x)) + self.decay_bias)

    def retention(self, x: Tensor, state: GatedDeltaNetState) -> Tensor:
        """a, a channel a head; see `interfaces.HasForgetGate`."""
        return self._log_decay(x).exp()

    def macs(self) -> int:
        mixed = 2 * self.heads * self.key_width + self.dim
        projections = mixed * (self.dim + self.width) + 2 * self.dim * self.dim + 2 * self.dim * self.heads
        return projections + self.heads * products(self.key_width, self.dim // self.heads, delta=True)

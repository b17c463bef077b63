"""GLA core."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.components.cores._affine import Affine
from rnnlab.components.cores._mixer import HeadNorm, Projection, by_head
from rnnlab.errors import check_heads, check_width
from rnnlab.ops.fast_weights import fast_weights, products
from rnnlab.ops.recurrence import full_precision
from rnnlab.registry import register

SLOWNESS = 16.0  # the paper's tau


class GLAState(NamedTuple):
    memory: Tensor  # (H, K, B, D/H)


@register("core")
class GLA(nn.Module):
    """Gated linear attention: a memory of outer products with a forget gate for every key channel.

    Source: Yang et al. 2023, arXiv:2312.06635, sections 4.1 and 4.4.
        q, k, v = W x,  a = sigmoid(W_2 W_1 x + b)^(1/16)
        S_t = diag(a) S_{t-1} + k v^T,  y_t = W_o (norm(S_t^T q / sqrt(K)) silu(W_r x + b_r))
    Shapes: x (T, B, D) -> y (T, B, D); state memory (H, K, B, D/H).
    Args:
        dim: width D, a multiple of heads.
        heads: H, >= 1.
        key_width: K, of each head; None: half of D/H.
        rank: width of the bottleneck before the forget gate, >= 1.
    Raises: ConfigError if dim < 1, heads < 1, key_width < 1, rank < 1, or dim is not a multiple of heads.
    Differs: RMSNorm for each head, with a gain for each channel, in place of LayerNorm. The weights are drawn as torch
        draws a linear layer's.
    """

    state_knob = "key_width"

    def __init__(self, dim: int, heads: int = 4, key_width: int | None = None, rank: int = 16) -> None:
        super().__init__()
        check_width("GLA", "dim", dim)
        check_width("GLA", "rank", rank)
        check_heads("GLA", heads, dim)
        self.dim, self.heads, self.rank = dim, heads, rank
        self.key_width = max(1, dim // heads // 2) if key_width is None else key_width
        check_width("GLA", "key_width", self.key_width)
        keys = heads * self.key_width
        self.query, self.key, self.value = Projection(dim, keys), Projection(dim, keys), Projection(dim, dim)
        self.narrow = Projection(dim, rank)
        self.forget = Affine(rank, keys, bound=rank**-0.5)
        self.gate = Affine(dim, dim, bound=dim**-0.5)
        self.norm = HeadNorm(heads, dim // heads)
        self.output = Projection(dim, dim)

    def initial_state(self, batch: int) -> GLAState:
        return GLAState(self.norm.gain.new_zeros(self.heads, self.key_width, batch, self.dim // self.heads))

    def forward(self, x: Tensor, state: GLAState) -> tuple[Tensor, GLAState]:
        q, k, v, log_decay = (
            by_head(full_precision(one), self.heads)
            for one in (self.query(x), self.key(x), self.value(x), self._log_decay(x))
        )
        read, memory = fast_weights(q, k, v, log_decay, full_precision(state.memory))
        gate = F.silu(full_precision(self.gate(x)))
        gated = self.norm(read * self.key_width**-0.5).flatten(-2) * gate
        y: Tensor = self.output(gated.to(x.dtype))
        return y, GLAState(memory.to(state.memory.dtype))

    def _log_decay(self, x: Tensor) -> Tensor:
        return F.logsigmoid(full_precision(self.forget(self.narrow(x)))) / SLOWNESS

    def retention(self, x: Tensor, state: GLAState) -> Tensor:
        """a; see `interfaces.HasForgetGate`."""
        return self._log_decay(x).exp()

    def macs(self) -> int:
        keys = self.heads * self.key_width
        projections = 3 * self.dim * self.dim + 2 * self.dim * keys + self.rank * (self.dim + keys)
        return projections + self.heads * products(self.key_width, self.dim // self.heads, by_key=True)

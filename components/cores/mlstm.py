"""mLSTM core."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.components.cores._affine import Affine
from rnnlab.components.cores._mixer import BlockProjection, HeadNorm, Projection, ShortConvolution, by_head
from rnnlab.errors import ConfigError, check_heads, check_width
from rnnlab.ops.exponential_memory import exponential_memory
from rnnlab.ops.fast_weights import products
from rnnlab.ops.recurrence import full_precision
from rnnlab.registry import register

FIRST_FORGET = (3.0, 6.0)  # bias of the forget gate, from the first head to the last
FIRST_INPUT = 0.1  # standard deviation of the bias of the input gate


class MLSTMState(NamedTuple):
    past: Tensor  # (width - 1, B, 2 D) last inputs of the convolution, oldest first
    memory: Tensor  # (H, 2 D/H, B, 2 D/H + 1) C and n, side by side, divided by e^m
    scale: Tensor  # (B, H) m


@register("core")
class MLSTM(nn.Module):
    """LSTM whose cell is a matrix of outer products, with an exponential input gate: the linear half of the xLSTM.

    Source: Beck et al. 2024, arXiv:2405.04517, section 2.3; what stands around the memory from figure 11.
        u, z = W x,  c = silu(conv(u)),  q, k, v = W_q c, W_k c / sqrt(K), W_v u
        i = exp(w_i [q k v] + b_i),  f = sigmoid(w_f [q k v] + b_f)
        C_t = f C_{t-1} + i k v^T,  n_t = f n_{t-1} + i k,  r = C_t^T q / max(|n_t^T q|, 1)
        y_t = W_o ((norm(r) + skip c) silu(z))
    Shapes: x (T, B, D) -> y (T, B, D); state past (width - 1, B, 2 D), memory (H, K, B, K + 1) with K = 2 D/H,
        scale (B, H).
    Args:
        dim: width D; 2 D is a multiple of heads.
        heads: H, >= 1.
        width: inputs the convolution sees, its own included [positions], >= 1.
        block: channels of a block of W_q, W_k and W_v, which are block-diagonal, >= 1.
    Raises: ConfigError if dim, heads, width or block is below 1, or 2 dim is no multiple of heads and block.
    Differs: RMSNorm for each head in place of LayerNorm, and no 1e-6 in the divisor of r. The weights are drawn as
        torch draws a linear layer's, but for the gates', which start at 0 as in the authors' code (NX-AI/xlstm).
    """

    state_knob = "dim"

    def __init__(self, dim: int, heads: int = 4, width: int = 4, block: int = 4) -> None:
        super().__init__()
        check_width("MLSTM", "dim", dim)
        check_width("MLSTM", "width", width)
        check_width("MLSTM", "block", block)
        check_heads("MLSTM", heads, 2 * dim)
        if 2 * dim % block:
            raise ConfigError(f"MLSTM.block = {block}: the width {2 * dim} has to be a multiple of it")
        self.dim, self.heads, self.width, self.block, self.inner = dim, heads, width, block, 2 * dim
        self.inputs, self.gate = Projection(dim, self.inner), Projection(dim, self.inner)
        self.convolution = ShortConvolution(self.inner, width)
        self.query, self.key, self.value = (BlockProjection(self.inner, block) for _ in range(3))
        self.gates = Affine(3 * self.inner, 2 * heads, bound=0.0)  # input, then forget
        with torch.no_grad():
            self.gates.bias[:heads].normal_(0.0, FIRST_INPUT)
            self.gates.bias[heads:] = torch.linspace(*FIRST_FORGET, heads)
        self.norm = HeadNorm(heads, self.inner // heads)
        self.skip = nn.Parameter(torch.ones(self.inner))
        self.output = Projection(self.inner, dim)

    def initial_state(self, batch: int) -> MLSTMState:
        each = self.inner // self.heads
        memory, scale = self.skip.new_zeros(self.heads, each, batch, each + 1), self.skip.new_zeros(batch, self.heads)
        return MLSTMState(self.convolution.initial_past(batch), memory, scale)

    def forward(self, x: Tensor, state: MLSTMState) -> tuple[Tensor, MLSTMState]:
        q, k, v, log_input, log_forget, mixed, past = self._read(x, state)
        q, k, v = (by_head(one, self.heads) for one in (q, k * (self.inner // self.heads) ** -0.5, v))
        memory, scale = full_precision(state.memory), full_precision(state.scale)
        read, memory, scale = exponential_memory(q, k, v, log_input, log_forget, memory, scale)
        gated = (self.norm(read).flatten(-2) + self.skip * mixed) * F.silu(full_precision(self.gate(x)))
        y: Tensor = self.output(gated.to(x.dtype))
        kept = MLSTMState(past, memory.to(state.memory.dtype), scale.to(state.scale.dtype, copy=True))
        return y, kept

    def _read(self, x: Tensor, state: MLSTMState) -> tuple[Tensor, ...]:
        inner = self.inputs(x)
        mixed, past = self.convolution(inner, state.past)
        q, k, v = self.query(mixed), self.key(mixed), self.value(inner)
        gates = full_precision(self.gates(torch.cat([q, k, v], dim=-1)))
        log_input, log_forget = gates[..., : self.heads], F.logsigmoid(gates[..., self.heads :])
        return *map(full_precision, (q, k, v)), log_input, log_forget, full_precision(mixed), past

    def retention(self, x: Tensor, state: MLSTMState) -> Tensor:
        """f, a channel a head; see `interfaces.HasForgetGate`."""
        return self._read(x, state)[4].exp()

    def macs(self) -> int:
        each = self.inner // self.heads
        projections = 3 * self.dim * self.inner + 3 * self.inner * self.block
        gates = 3 * self.inner * 2 * self.heads + self.inner * self.width
        return projections + gates + self.heads * products(each, each + 1)

"""What the cores with a memory of outer products are made of, besides the memory itself."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOWEST, FASTEST = 1e-3, 1e-1  # [1/position] where softplus(bias) begins: times of a decay


def by_head(x: Tensor, heads: int) -> Tensor:
    """(..., heads V) -> (..., heads, V)."""
    return x.reshape(*x.shape[:-1], heads, -1)


class Projection(nn.Module):
    """y = W x with W drawn uniformly from [-bound, bound], bound = inputs^-1/2, as torch draws an nn.Linear.

    Not an nn.Linear, because the model redraws those.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)


class BlockProjection(nn.Module):
    """y = W x with W block-diagonal, `block` channels at a time; drawn as a Projection with so many inputs."""

    def __init__(self, width: int, block: int) -> None:
        super().__init__()
        bound = block**-0.5
        self.weight = nn.Parameter(torch.empty(width // block, block, block).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("tbni,noi->tbno", by_head(x, len(self.weight)), self.weight.to(x.dtype)).flatten(-2)


class ShortConvolution(nn.Module):
    """silu of a causal convolution along time, each channel by itself, over the last `width` inputs.

    Shapes: x (T, B, C), past (width - 1, B, C) -> y (T, B, C), the next past. Initialization: torch's of an nn.Conv1d.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        bound = width**-0.5
        # Oldest first. Three dimensions: each channel has numbers of its own, which no optimizer may take for a matrix.
        self.weight = nn.Parameter(torch.empty(width, 1, channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))

    def initial_past(self, batch: int) -> Tensor:
        width, _, channels = self.weight.shape
        return self.weight.new_zeros(width - 1, batch, channels)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        inputs = torch.cat([past.to(x.dtype), x])
        y = self.bias.to(x.dtype).expand_as(x)
        for first, weight in enumerate(self.weight.to(x.dtype)):
            y = torch.addcmul(y, inputs[first : first + len(x)], weight)
        return F.silu(y), inputs[len(x) :].to(past.dtype, copy=True)


class HeadNorm(nn.Module):
    """Each head divided by the root of its mean square, with a gain for each channel: RMSNorm on (..., H, V)."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(heads * width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * self.gain.reshape(x.shape[-2:])


def decay_rates(heads: int) -> Tensor:
    """log A (heads), A drawn uniformly from [1, 16], as Mamba-2 begins."""
    return torch.log(torch.empty(heads).uniform_(1.0, 16.0))


def decay_bias(heads: int) -> Tensor:
    """b (heads): softplus(b) is drawn from [SLOWEST, FASTEST], uniformly in the logarithm, as Mamba-2 begins."""
    first = torch.exp(torch.empty(heads).uniform_(math.log(SLOWEST), math.log(FASTEST)))
    return torch.log(torch.expm1(first))  # the inverse of softplus

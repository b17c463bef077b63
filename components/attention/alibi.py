"""Attention with linear biases."""

import torch
from torch import Tensor

from rnnlab.components.attention._gated import Gated
from rnnlab.registry import register


@register("attention")
class ALiBi(Gated):
    """MultiHead over a sliding window, with scores that fall with the distance: each head by a slope of its own.

    Source: Press et al. 2021, arXiv:2108.12409, section 3.
        a_h = softmax(q_h k_h^T / sqrt(D/H) - slope_h distance),  slope_h = 2^(-8 h / H),  h = 1 ... H
    Shapes: queries, source (T, B, D) -> y (T, B, D); state (M', B, D), M' <= memory - 1.
    Args:
        dim: width D, a multiple of heads.
        heads: H, >= 1.
        memory: positions each query may see, itself included [positions], >= 1.
        dropout: on the query, the values and the weights [probability], in [0, 1).
    Raises: ConfigError if dim is not a multiple of heads, memory < 1 or dropout is outside [0, 1).
    Differs: keys and values are not projected and the query is gated, as in SingleHead; slopes for a number of heads
        that is no power of 2 by the same formula.
    """

    def __init__(self, dim: int, heads: int = 4, memory: int = 1024, dropout: float = 0.0) -> None:
        super().__init__(dim, heads, memory, dropout)

    def bias(self, distance: Tensor) -> Tensor:
        """See `Gated.bias`."""
        head = torch.arange(1, self.heads + 1, dtype=torch.float32, device=distance.device)
        return -(2.0 ** (-8.0 * head / self.heads)).reshape(-1, 1, 1) * distance

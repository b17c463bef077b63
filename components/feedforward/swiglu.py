"""The gated feed-forward."""

import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.errors import check_probability, check_width
from rnnlab.ops.dropout import dropout
from rnnlab.registry import register


@register("feedforward")
class SwiGLU(nn.Module):
    """Gated feed-forward: one D to F product opens the other, then back to D.

    Source: Shazeer 2020, arXiv:2002.05202, section 2.
        y = W_2 dropout(silu(W x) (V x))
    Shapes: x (T, B, D) -> y (T, B, D).
    Args:
        dim: width D.
        inner: width F >= 1; None for 8 D / 3, which costs as much as Standard at 4 D.
        dropout: on the F values [probability], in [0, 1).
    Raises: ConfigError if inner < 1 or dropout is outside [0, 1).
    Differs: dropout on the F values, which the paper does without.
    """

    def __init__(self, dim: int, inner: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        inner = max(1, 8 * dim // 3) if inner is None else inner
        check_width("SwiGLU", "inner", inner)
        check_probability("SwiGLU", "dropout", dropout)
        self.dim, self.inner, self.dropout = dim, inner, dropout
        self.gate = nn.Linear(dim, inner, bias=False)
        self.up = nn.Linear(dim, inner, bias=False)
        self.down = nn.Linear(inner, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(dropout(F.silu(self.gate(x)) * self.up(x), self.dropout, self.training))
        return y

    def macs(self) -> int:
        return 3 * self.dim * self.inner

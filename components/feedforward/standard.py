"""The Transformer's feed-forward."""

from torch import Tensor, nn

from rnnlab.errors import check_probability, check_width
from rnnlab.ops.dropout import dropout
from rnnlab.ops.gelu import gelu
from rnnlab.registry import register


@register("feedforward")
class Standard(nn.Module):
    """Two matrices, D to F and back: Boom's control.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.3.
        y = W_2 dropout(gelu(W_1 x + b_1)) + b_2
    Shapes: x (T, B, D) -> y (T, B, D).
    Args:
        dim: width D.
        inner: width F >= 1; None for 4 D.
        dropout: on the F values [probability], in [0, 1).
    Raises: ConfigError if inner < 1 or dropout is outside [0, 1).
    Differs: GELU (Boom's, so that only the second matrix is compared) in place of ReLU.
    """

    def __init__(self, dim: int, inner: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        inner = 4 * dim if inner is None else inner
        check_width("Standard", "inner", inner)
        check_probability("Standard", "dropout", dropout)
        self.dim, self.inner, self.dropout = dim, inner, dropout
        self.up = nn.Linear(dim, inner)
        self.down = nn.Linear(inner, dim)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(dropout(gelu(self.up(x)), self.dropout, self.training))
        return y

    def macs(self) -> int:
        return 2 * self.dim * self.inner

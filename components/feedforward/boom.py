"""The SHA-RNN's feed-forward."""

from torch import Tensor, nn

from rnnlab.errors import ConfigError, check_probability
from rnnlab.ops.boom import boom_layer
from rnnlab.registry import register


@register("feedforward")
class Boom(nn.Module):
    """Up to F values, then down to D by summing chunks: a feed-forward without its second matrix.

    Source: Merity 2019, arXiv:1911.11423, section 4.
        u = dropout(gelu(W x + b)),  y = u[0:D] + u[D:2D] + ... + u[F-D:F]
    Shapes: x (T, B, D) -> y (T, B, D).
    Args:
        dim: width D.
        inner: width F, a multiple of D; None for 4 D.
        dropout: on the F values [probability], in [0, 1).
    Raises: ConfigError if inner is not a positive multiple of dim or dropout is outside [0, 1).
    """

    def __init__(self, dim: int, inner: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        inner = 4 * dim if inner is None else inner
        if inner < 1 or inner % dim:
            raise ConfigError(
                f"Boom.inner = {inner}: F is cut in chunks of D = {dim}, so it has to be a multiple of it"
            )
        check_probability("Boom", "dropout", dropout)
        self.dim, self.inner, self.dropout = dim, inner, dropout
        self.up = nn.Linear(dim, inner)

    def forward(self, x: Tensor) -> Tensor:
        return boom_layer(x, self.up.weight, self.up.bias, self.dropout if self.training else 0.0)

    def macs(self) -> int:
        return self.dim * self.inner

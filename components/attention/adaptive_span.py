"""Attention that learns how far it looks back."""

import torch
from torch import Tensor, nn

from rnnlab.components.attention._gated import Gated
from rnnlab.errors import ConfigError
from rnnlab.registry import register

SMALLEST = 1e-6  # share of a position at the end of the ramp, of which there is a logarithm


@register("attention")
class AdaptiveSpan(Gated):
    """MultiHead whose heads each learn how far they look back, under a penalty on the length.

    Source: Sukhbaatar et al. 2019, arXiv:1905.07799, section 2.2.
        m_h(x) = clamp((ramp + span_h - x) / ramp, 0, 1)    x the distance
        a_h = m_h exp(q_h k_h^T / sqrt(D/H)) / sum of the same,  loss + penalty sum_h span_h / H
    Shapes: queries, source (T, B, D) -> y (T, B, D); state (M', B, D), M' <= memory - 1.
    Args:
        dim: width D, a multiple of heads.
        heads: H, >= 1.
        memory: the longest span, the query's own position included [positions], >= 1.
        ramp: over which a weight falls to 0 behind the span [positions], > 0.
        penalty: on the mean span [nats/position], >= 0.
        first: share of the memory that a span begins with, in (0, 1).
        dropout: on the query, the values and the weights [probability], in [0, 1).
    Raises: ConfigError if dim is not a multiple of heads, memory < 1, ramp <= 0, penalty < 0, or first or dropout is
        outside of its range.
    Differs: keys and values are not projected and the query is gated, as in SingleHead. A span is the memory times a
        sigmoid, where the source clamps: none comes to lie where it has no gradient. The memory that is kept stays as
        long as it may become; what is computed is not cut to the longest span.
    """

    def __init__(
        self, dim: int, heads: int = 4, memory: int = 1024, ramp: float = 32.0, penalty: float = 2e-6,
        first: float = 0.02, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(dim, heads, memory, dropout)
        if not ramp > 0.0:
            raise ConfigError(f"AdaptiveSpan.ramp = {ramp}: more than 0 positions")
        if not penalty >= 0.0:
            raise ConfigError(f"AdaptiveSpan.penalty = {penalty}: 0 or more nats a position")
        if not 0.0 < first < 1.0:
            raise ConfigError(f"AdaptiveSpan.first = {first}: a share of the memory, between 0 and 1")
        self.ramp, self.weight = ramp, penalty
        self.share = nn.Parameter(torch.logit(torch.full((heads,), first)))  # of the memory, before the sigmoid

    def spans(self) -> Tensor:
        """How far each head looks back at full weight (H) [positions]."""
        return torch.sigmoid(self.share) * (self.memory - 1)

    def bias(self, distance: Tensor) -> Tensor:
        """log m (H, T, M' + T); see `Gated.bias`."""
        left = (self.ramp + self.spans().reshape(-1, 1, 1) - distance) / self.ramp
        return left.clamp(SMALLEST, 1.0).log().masked_fill(left <= 0.0, -torch.inf)

    def penalty(self) -> Tensor:
        """[nats] added to the loss; see `interfaces.HasPenalty`."""
        return self.weight * self.spans().mean()

    def figures(self) -> dict[str, float]:
        """Of all heads [positions]; see `interfaces.TellsFigures`."""
        spans = self.spans().detach()
        return {"span": float(spans.mean()), "longest_span": float(spans.max())}

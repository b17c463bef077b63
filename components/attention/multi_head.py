"""The SHA-RNN's attention with several heads."""

from rnnlab.components.attention.single_head import SingleHead
from rnnlab.errors import check_heads
from rnnlab.registry import register


@register("attention")
class MultiHead(SingleHead):
    """SingleHead with its width cut into H heads that look back separately.

    Source: Merity 2019, arXiv:1911.11423, section 3; heads as in Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2.
        head h: a_h = softmax(q_h k_h^T / sqrt(D/H)),  y_h = dropout(a_h) v_h;  y = [y_1 ... y_H]
    Shapes: queries, source (T, B, D) -> y (T, B, D); state (M', B, D), M' <= memory - 1.
    Args:
        dim: width D, a multiple of heads.
        heads: H, >= 1.
        memory: positions each query may see, itself included [positions], >= 1.
        dropout: on the query, the values and the weights [probability], in [0, 1).
    Raises: ConfigError if dim is not a multiple of heads, memory < 1 or dropout is outside [0, 1).
    Differs: no projection of keys, values or output, as in SingleHead: at H = 1 the two are one.
    """

    def __init__(self, dim: int, heads: int = 4, memory: int = 1024, dropout: float = 0.0) -> None:
        super().__init__(dim, memory=memory, dropout=dropout)
        check_heads("MultiHead", heads, dim)
        self.heads = heads

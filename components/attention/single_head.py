"""The SHA-RNN's single-headed attention."""

from rnnlab.components.attention._gated import GatedAttention
from rnnlab.registry import register


@register("attention")
class SingleHead(GatedAttention):
    """Single-headed attention over a sliding memory of past hidden states; only the query is projected.

    Source: Merity 2019, arXiv:1911.11423, section 3.
        q = sigmoid(q_gate) LN(W_q queries + b_q),  k = sigmoid(k_gate) keys,  v = g_v keys
        a = softmax(q k^T / sqrt(D)),  y = dropout(a) v;  keys = the memory, then source
    Shapes: queries, source (T, B, D) -> y (T, B, D); state (M', B, D), M' <= memory - 1.
    Args:
        dim: width D.
        memory: positions each query may see, itself included [positions], >= 1.
        dropout: on the query, the values and the weights [probability], in [0, 1).
    Raises: ConfigError if memory < 1 or dropout is outside [0, 1).
    Differs: the window is counted per query, not per chunk: the result does not depend on how the text is cut.
    """

    def __init__(self, dim: int, memory: int = 1024, dropout: float = 0.0) -> None:
        super().__init__(dim, heads=1, memory=memory, dropout=dropout)

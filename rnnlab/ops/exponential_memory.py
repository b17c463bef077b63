"""The memory of the mLSTM: outer products under an exponential input gate, and the sum of keys as a divisor.

    C_t = f_t C_{t-1} + i_t k_t v_t^T,  n_t = f_t n_{t-1} + i_t k_t
    y_t = C_t^T q_t / max(|n_t^T q_t|, 1),  i_t = exp(input_t)

Kept are C / e^m and n / e^m, with m_t the largest logarithm of a weight so far: no exponential overflows, and the
result does not depend on m. As in `fast_weights` a chunk is computed in matrix products.

Source: Beck et al. 2024, arXiv:2405.04517, section 2.3 and appendix A.3.
"""

import torch
from torch import Tensor

from rnnlab.ops.fast_weights import CHUNK


def exponential_memory(
    q: Tensor, k: Tensor, v: Tensor, log_input: Tensor, log_forget: Tensor, state: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Read and write the memory at every position.

    Args:
        q, k: (T, B, H, K); v: (T, B, H, V); log_input, log_forget: (T, B, H), the latter <= 0.
        state: C / e^m and n / e^m side by side, (H, K, B, V + 1).
        scale: m, (B, H).
    Returns: y (T, B, H, V); state and scale after the last position.
    """
    memory, ones = state.movedim(-2, 0), torch.ones_like(v[..., :1])  # (B, H, K, V + 1)
    q, k, v = (x.permute(1, 2, 0, 3) for x in (q, k, torch.cat([v, ones], dim=-1)))  # (B, H, T, ...)
    log_input, log_forget = (x.permute(1, 2, 0) for x in (log_input, log_forget))  # (B, H, T)
    read = []
    for first in range(0, q.shape[2], CHUNK):
        now = slice(first, first + CHUNK)
        gates = log_input[:, :, now], log_forget[:, :, now]
        y, memory, scale = _chunk(q[:, :, now], k[:, :, now], v[:, :, now], *gates, memory, scale)
        read.append(y)
    return torch.cat(read, dim=2).permute(2, 0, 1, 3), memory.movedim(0, -2), scale


def _chunk(
    q: Tensor, k: Tensor, v: Tensor, log_input: Tensor, log_forget: Tensor, memory: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One chunk; shapes are (B, H, T, ...), the memory's (B, H, K, V + 1), the scale's (B, H)."""
    total = log_forget.cumsum(-1)
    before = scale.unsqueeze(-1) + total  # logarithm of the weight of the memory at each position
    since = total.unsqueeze(-1) + (log_input - total).unsqueeze(-2)  # and of the position j at the position i
    positions = q.shape[2]
    if positions > 1:
        later = torch.ones(positions, positions, dtype=torch.bool, device=q.device).triu(1)
        since = since.masked_fill(later, -torch.inf)
    scales = torch.maximum(since.amax(-1), before).detach()  # m; it cancels, and so does its gradient
    looks = (q @ k.transpose(-1, -2)) * (since - scales.unsqueeze(-1)).exp()
    read = (before - scales).exp().unsqueeze(-1) * (q @ memory) + looks @ v
    y = read[..., :-1] / torch.maximum(read[..., -1:].abs(), (-scales).exp().unsqueeze(-1))
    kept, written = (before - scales)[..., -1, None, None].exp(), (since[..., -1, :] - scales[..., -1:]).exp()
    return y, kept * memory + (written.unsqueeze(-1) * k).transpose(-1, -2) @ v, scales[..., -1]

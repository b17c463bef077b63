"""A memory of outer products, which GLA, Mamba-2, Gated DeltaNet and mLSTM share: fast weights.

    S_t = a_t S_{t-1} + k_t v_t^T,  y_t = S_t^T q_t

S (K, V) is a matrix for each head. In training it is computed chunk by chunk in matrix products: within a chunk each
position looks at those before it, as in attention without a softmax, and S carries what was before the chunk. A
position by itself is computed as the equation says. Laws hold the two forms together.

Sources: Schmidhuber 1992; the chunks from Hua et al. 2022, arXiv:2202.10447, section 3, and Yang et al. 2023,
arXiv:2312.06635, section 4; the delta rule in chunks from Yang et al. 2024, arXiv:2406.06484, section 3.

Layouts: q, k (T, B, H, K), v (T, B, H, V), y (T, B, H, V), S (H, K, B, V): the batch at dimension -2.
"""

import torch
from torch import Tensor

CHUNK = 64  # [positions] with one decay for all keys of a head
CHUNK_BY_KEY = 16  # [positions] with one for each, whose chunk is compared key by key


def fast_weights(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor, strength: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Read and write the memory at every position.

    With a strength s it is the delta rule, which writes what the key does not give yet:
        S_t = a_t (1 - s_t k_t k_t^T) S_{t-1} + s_t k_t v_t^T

    Args:
        log_decay: log a_t <= 0, (T, B, H, 1), or (T, B, H, K) for one for each key, which the delta rule has not.
        state: S before the first position, (H, K, B, V).
        strength: s_t (T, B, H).
    Returns: y (T, B, H, V), S after the last position.
    """
    by_key = log_decay.shape[-1] > 1
    assert not (by_key and strength is not None), "the delta rule has one decay for all keys"
    memory = state.movedim(-2, 0)  # (B, H, K, V)
    heads = [x.permute(1, 2, 0, 3) for x in (q, k, v, log_decay)]  # (B, H, T, ...)
    force = None if strength is None else strength.permute(1, 2, 0)
    size, read = CHUNK_BY_KEY if by_key else CHUNK, []
    for first in range(0, len(q), size):
        q_c, k_c, v_c, decay = (x[:, :, first : first + size] for x in heads)
        force_c = None if force is None else force[:, :, first : first + size]
        y, memory = _chunk(q_c, k_c, v_c, decay, memory, force_c)
        read.append(y)
    return torch.cat(read, dim=2).permute(2, 0, 1, 3), memory.movedim(0, -2)


def products(keys: int, values: int, by_key: bool = False, delta: bool = False) -> int:
    """Multiply-accumulates of a head in training [MAC/position]: with S, and within a chunk."""
    size = CHUNK_BY_KEY if by_key else CHUNK
    with_memory, within = 2 * keys * values, size * (keys + values)
    return with_memory + within + (keys * values + size * (keys + values) if delta else 0)


def _chunk(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, memory: Tensor, strength: Tensor | None
) -> tuple[Tensor, Tensor]:
    """One chunk; shapes are (B, H, T, ...), the memory's (B, H, K, V)."""
    total = log_decay.cumsum(2)  # since before the chunk
    kept = total.exp()
    if strength is not None:
        new = strength.unsqueeze(-1) * (v - (kept * k) @ memory)
        v = new if k.shape[2] == 1 else _by_the_delta_rule(k, total, strength, new)
    read = (kept * q) @ memory + _looks(q, k, total) @ v
    until_end = (total[:, :, -1:] - total).exp()
    return read, kept[:, :, -1].unsqueeze(-1) * memory + (until_end * k).transpose(-1, -2) @ v


def _looks(q: Tensor, k: Tensor, total: Tensor, own: bool = True) -> Tensor:
    """(B, H, T, T): q_i k_j after the decay from j to i, for j <= i, or j < i."""
    positions = q.shape[2]
    if positions == 1:
        return (q * k).sum(-1, keepdim=True)
    before = torch.ones(positions, positions, dtype=torch.bool, device=q.device).tril(0 if own else -1)
    if total.shape[-1] == 1:
        decay = (total - total.transpose(-1, -2)).masked_fill(~before, -torch.inf).exp()
        return (q @ k.transpose(-1, -2)) * decay
    since = (total.unsqueeze(3) - total.unsqueeze(2)).masked_fill(~before.unsqueeze(-1), -torch.inf)  # (B, H, T, T, K)
    return (q.unsqueeze(3) * k.unsqueeze(2) * since.exp()).sum(-1)


def _by_the_delta_rule(k: Tensor, total: Tensor, strength: Tensor, new: Tensor) -> Tensor:
    """What each position writes, when what those before it in the chunk wrote is taken away: u of (1 + L) u = new."""
    taken = strength.unsqueeze(-1) * _looks(k, k, total, own=False)
    written: Tensor = torch.linalg.solve_triangular(taken, new, upper=False, unitriangular=True)
    return written

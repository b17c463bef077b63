"""Randomness derived, not stored: what is random at step k is a function of (seed, k, purpose).

Evaluating, logging or saving more often changes no bit of the loss curve, and resuming needs no generator state.
"""

import hashlib

import torch


def derive(seed: int, step: int, purpose: str) -> int:
    """A 63-bit seed that depends on all three arguments and on nothing else (not on PYTHONHASHSEED)."""
    digest = hashlib.blake2b(f"{seed}/{step}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_torch(seed: int, step: int, purpose: str) -> None:
    """Point torch's global generators (CPU and CUDA) at (seed, step, purpose); parts draw from them."""
    torch.manual_seed(derive(seed, step, purpose))


def generator(seed: int, step: int, purpose: str) -> torch.Generator:
    """A private CPU generator for draws that must not touch the global one."""
    return torch.Generator().manual_seed(derive(seed, step, purpose))

"""Bytes, and files made of them."""

from pathlib import Path

import numpy as np


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def random_bytes(count: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, count, dtype=np.uint8).tobytes()

"""What a probe finds in a model, as data: what `views.examination` measures and `views.probe_pictures` draws."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

RETENTION_BINS = 50

Floats = npt.NDArray[np.floating[Any]]
Bytes = npt.NDArray[np.uint8]


@dataclass
class AttentionDistances:
    """How the weights of one attention spread over distances: bins of 0, 1, 2-3, 4-7, ... positions back."""

    mass: Floats  # share by distance, per head (H, bins)
    uniform: Floats  # the same of uniform attention (bins,)
    mean_distance: float  # [positions]
    window: int  # positions that a query may see [positions]
    full: bool  # whether only queries with a full window were counted; if not, there was none


@dataclass
class AttentionMap:
    """The weights of one attention between the bytes of a passage."""

    text: bytes  # those n that the model had read
    weights: Floats  # weight from each to each of them (n, n), 0 to the right of the diagonal
    before: Floats  # weight from each to what came before the passage (n,)


@dataclass
class ForgetGates:
    """How long one core remembers."""

    forget_times: Floats  # positions until 1/e is left, per channel, ascending [positions]
    histogram: Floats  # share of gates by value, over RETENTION_BINS equal bins of [0, 1]


@dataclass
class Findings:
    """What a probe found; the keys of `attention_distances`, `attention_maps` and `forget_gates` are layers, from 0."""

    text: str  # what was read
    bytes_read: int
    layers: int
    bpc: float
    bpc_by_kind: dict[str, tuple[float, float]]  # (BPC, share of the bytes)
    bpc_by_position: list[tuple[int, float, int]]  # (from byte, BPC, bytes) in ranges that double
    counted_from: str  # what positions are counted from
    attention_distances: dict[int, AttentionDistances]
    attention_maps: dict[int, AttentionMap]
    forget_gates: dict[int, ForgetGates]
    gradient_norms: dict[str, float]  # by part

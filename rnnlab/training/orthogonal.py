"""Matrices made orthogonal, as Muon's steps are."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

STACKED = 1 << 18
"""Numbers in matrices that are orthogonalized together: small ones wait for the launch, large ones for the cache."""

ITERATIONS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalized(matrices: Sequence[Tensor]) -> list[Tensor]:
    """For each (m, n) about the nearest matrix whose rows or columns are orthonormal; singular values 0.7 to 1.2.

    Source: Jordan et al. 2024: X <- (a + b G + c G^2) X with G = X X^T, five times. Here the factors are multiplied up
    among the G, which commute, and X is multiplied once: the same polynomial in half the products where n is 4 m.
    """
    kinds: dict[tuple[Any, ...], list[int]] = {}
    for number, x in enumerate(matrices):
        kinds.setdefault((min(x.shape), max(x.shape), x.dtype, x.device), []).append(number)
    found: dict[int, Tensor] = {}
    for (m, n, *_), numbers in kinds.items():
        together = max(1, STACKED // max(1, m * n))
        for start in range(0, len(numbers), together):
            some = numbers[start : start + together]
            stack = torch.stack([x if x.shape[0] <= x.shape[1] else x.mT for x in (matrices[i] for i in some)])
            found.update(zip(some, _orthogonalized(stack), strict=True))
    return [found[i] if x.shape[0] <= x.shape[1] else found[i].mT for i, x in enumerate(matrices)]


def _orthogonalized(x: Tensor) -> Tensor:
    """(K, m, n) with m <= n -> the same."""
    a, b, c = QUINTIC
    turned = x if x.device.type == "cpu" else x.bfloat16()
    turned = turned / turned.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    gram = turned @ turned.mT
    factors = None
    for iteration in range(ITERATIONS):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        factors = factor if factors is None else factor @ factors
        if iteration + 1 < ITERATIONS:
            gram = factor @ gram @ factor
    assert factors is not None
    orthogonal: Tensor = factors @ turned
    return orthogonal.to(x.dtype)

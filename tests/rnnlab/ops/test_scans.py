"""Scans over thousands of positions, with gates so near 0 or 1 that a rounding would add up."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rnnlab.ops import min_gru_scan, native, rg_lru_scan, sru_scan
from rnnlab.testing import rounding

T, B, D = 4096, 1, 16
FORGOTTEN = torch.logspace(-6, -3, D)  # the share of a state that a position takes away


def min_gru(x: Tensor, first: Tensor, backend: str | None) -> Tensor:
    update = torch.logit(FORGOTTEN.to(x)).expand_as(x)
    return min_gru_scan(torch.cat([x, update], dim=-1), first, backend=backend)  # type: ignore[arg-type]


def sru(x: Tensor, first: Tensor, backend: str | None) -> Tensor:
    forget = -torch.logit(FORGOTTEN.to(x)).expand_as(x)
    projected = torch.cat([x, forget, torch.zeros_like(x)], dim=-1)
    return sru_scan(projected, x, torch.full_like(x[0, 0], 0.01), first, backend=backend)[1]  # type: ignore[arg-type]


def rg_lru(x: Tensor, first: Tensor, backend: str | None) -> Tensor:
    return rg_lru_scan(x.new_zeros(T, B, 2 * D), x, -2.0 * FORGOTTEN.to(x), first, backend=backend)  # type: ignore[arg-type]


@pytest.mark.skipif(native.kernels() is None, reason="there are no CPU kernels")
@pytest.mark.parametrize("scan", [min_gru, sru, rg_lru])
def test_a_state_that_is_hardly_forgotten_is_the_exact_one_thousands_of_positions_later(
    scan: Callable[[Tensor, Tensor, str | None], Tensor],
) -> None:
    drawn = torch.randn(T, B, D), torch.randn(B, D)

    def found(dtype: torch.dtype, backend: str) -> dict[str, object]:
        x, first = (one.to(dtype, copy=True).requires_grad_() for one in drawn)
        last = scan(x, first, backend)[-1]
        return {"last": last.detach(), "gradients": torch.autograd.grad(last.sum(), (x, first))}

    exact = rounding.expected(lambda: found(torch.float64, "reference"))
    exact.check(found(torch.float32, "native"))

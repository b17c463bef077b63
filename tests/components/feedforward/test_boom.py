"""Boom, in one compiled pass or in torch's operations, against its equation."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from rnnlab.components.feedforward.boom import Boom
from rnnlab.components.feedforward.standard import Standard
from rnnlab.errors import ConfigError
from rnnlab.ops.dropout import set_batch_offset
from rnnlab.testing import rounding

DTYPES = [torch.float32, torch.float64]  # the first is compiled where there is a compiler, the second is torch's


@pytest.fixture(autouse=True)
def first_sequence() -> Iterator[None]:
    yield
    set_batch_offset(0)


def by_hand(part: Boom, x: Tensor) -> Tensor:
    u = x @ part.up.weight.T + part.up.bias
    u = u / (1 + torch.exp(-1.702 * u))
    return torch.stack([u[..., start : start + part.dim] for start in range(0, part.inner, part.dim)]).sum(0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("dim", "inner"), [(1, None), (5, None), (16, 16), (12, 36), (64, 256)])
def test_chunks_of_the_activated_values_are_summed(dim: int, inner: int | None, dtype: torch.dtype) -> None:
    part = Boom(dim, inner=inner).to(dtype)
    twin, x, weight = copy.deepcopy(part).double(), *torch.randn(2, 7, 3, dim, dtype=dtype)

    def results(compute: Callable[[Tensor], Tensor], of: Boom) -> list[Tensor]:
        leaf = x.to(of.up.weight.dtype).requires_grad_()
        y = compute(leaf)
        return [y, *torch.autograd.grad(y, (leaf, *of.parameters()), weight.to(y.dtype))]

    exact = rounding.expected(lambda: results(lambda leaf: by_hand(twin, leaf), twin), dtype)
    exact.check(results(part, part))


def test_large_values_neither_overflow_nor_lose_their_gradient() -> None:
    part = Boom(2, inner=2)
    with torch.no_grad():
        part.up.weight.copy_(torch.eye(2))
        part.up.bias.zero_()
    x = torch.tensor([[[300.0, -300.0]], [[1e4, -1e4]]], requires_grad=True)
    y = part(x)
    torch.testing.assert_close(y, torch.relu(x))
    y.sum().backward()
    torch.testing.assert_close(x.grad, (x > 0).float())


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_what_is_dropped_is_the_same_compiled_or_not(p: float) -> None:
    """float64 takes torch's operations: the same seed has to drop the same places, forward and backward."""
    part = Boom(8, inner=24, dropout=p).train()
    twin, x = copy.deepcopy(part).double(), torch.randn(6, 4, 8)

    def results(of: Boom, dtype: torch.dtype) -> list[Tensor]:
        torch.manual_seed(5)
        y = of(x.to(dtype))
        return [y, *torch.autograd.grad(y.square().sum(), list(of.parameters()))]

    rounding.expected(lambda: results(twin, torch.float64)).check(results(part, torch.float32))


def test_dropout_acts_on_the_inner_values_at_its_rate_in_training_alone() -> None:
    part = Boom(1, inner=1, dropout=0.25).double().train()
    with torch.no_grad():
        part.up.weight.fill_(1.0)
        part.up.bias.zero_()
    x = torch.full((3000, 4, 1), 2.0).double()
    y, plain = part(x), by_hand(part, x)
    assert (y == 0).double().mean().item() == pytest.approx(0.25, abs=0.02)
    torch.testing.assert_close(y[y != 0], (plain / 0.75)[y != 0])
    torch.testing.assert_close(part.eval()(x), plain)


@pytest.mark.parametrize("part_class", [Boom, Standard])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_sequence_is_dropped_alike_whichever_rank_holds_it(
    part_class: type[Boom | Standard], dtype: torch.dtype
) -> None:
    part = part_class(8, dropout=0.5).to(dtype).train()
    x = torch.randn(6, 4, 8, dtype=dtype)
    torch.manual_seed(2)
    whole = part(x)
    set_batch_offset(3)
    torch.manual_seed(2)
    shard, twin = part(x[:, 3:]), copy.deepcopy(part).double()
    set_batch_offset(0)

    def exactly() -> Tensor:
        torch.manual_seed(2)
        y: Tensor = twin(x.double())[:, 3:]
        return y

    exact = rounding.expected(exactly, dtype)
    exact.check(whole[:, 3:])
    exact.check(shard)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"inner": 0}, "Boom.inner = 0"),
    ({"inner": 10}, "Boom.inner = 10: F is cut in chunks of D = 4"),
    ({"inner": 3}, "Boom.inner = 3"),
    ({"inner": -4}, "Boom.inner = -4"),
    ({"dropout": 1.0}, "Boom.dropout = 1.0"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Boom(4, **arguments)  # type: ignore[arg-type]

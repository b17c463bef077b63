"""The compiled attention is the plain one: the same numbers, masks and gradients."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rnnlab import dropout, native
from rnnlab.components.attention import _window
from rnnlab.components.attention._memory import Memory
from rnnlab.components.attention.multi_head import MultiHead
from rnnlab.rng import generator
from rnnlab.testing import rounding

pytestmark = pytest.mark.skipif(native.kernels() is None, reason="there are no CPU kernels")

CASES = {  # heads, T, B, D, window, remembered
    "a full memory": (1, 20, 3, 32, 13, 12),
    "a memory that fills": (2, 20, 3, 32, 60, 7),
    "an empty memory": (1, 9, 2, 16, 60, 0),
    "a window of one": (4, 5, 2, 16, 1, 0),
    "a window shorter than the chunk": (2, 20, 2, 16, 4, 3),
    "a single query": (1, 1, 2, 16, 9, 8),
    "an odd width, many blocks": (3, 2 * _window.BLOCK + 7, 1, 15, 300, 299),
}


def part(heads: int, dim: int, window: int, p: float = 0.0, dtype: torch.dtype = torch.float32) -> MultiHead:
    """One whose gates are not at their start, in training."""
    torch.manual_seed(0)
    built = MultiHead(dim, heads=heads, memory=window, dropout=p).train()
    noise = generator(0, 0, "gates")
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
    return built.to(dtype)


def inputs(
    T: int, B: int, D: int, remembered: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    draws = generator(0, 0, "inputs")
    queries, source = (torch.randn(T, B, D, generator=draws).to(dtype).requires_grad_() for _ in range(2))
    return queries, source, torch.randn(remembered, B, D, generator=draws).to(dtype)


def answers(case: tuple[int, ...], p: float, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """y, the next memory, and every gradient."""
    heads, T, B, D, window, remembered = case
    built, (queries, source, memory) = part(heads, D, window, p, dtype), inputs(T, B, D, remembered, dtype)
    torch.manual_seed(1)
    y, state = built(queries, source, Memory(memory))
    learned = {"queries": queries, "source": source, **dict(built.named_parameters())}
    weighted = (y * torch.randn(y.shape, generator=generator(0, 0, "loss"))).sum()
    gradients = torch.autograd.grad(weighted, list(learned.values()))
    return {"y": y.detach(), "memory": state.positions.detach(), **dict(zip(learned, gradients, strict=True))}


@pytest.fixture
def plainly(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called, it turns the compiled way off."""
    return lambda: monkeypatch.setattr(_window, "serves", lambda source, memory: False)


@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("case", CASES)
def test_both_ways_give_the_same(case: str, p: float, plainly: Callable[[], None]) -> None:
    exact = rounding.expected(lambda: answers(CASES[case], p, torch.float64))
    exact.check(answers(CASES[case], p))
    plainly()
    exact.check(answers(CASES[case], p))


def test_under_autocast_it_multiplies_in_bfloat16_and_stays_near(plainly: Callable[[], None]) -> None:
    exact = answers(CASES["a full memory"], 0.0)
    with torch.autocast("cpu", torch.bfloat16):
        near = answers(CASES["a full memory"], 0.0)
    assert near["y"].dtype == torch.float32
    error = (near["y"] - exact["y"]).square().mean().sqrt() / exact["y"].square().mean().sqrt()
    assert 1e-4 < float(error) < 0.02


def test_sequences_keep_their_masks_on_another_rank() -> None:
    def some(first: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """y without the first sequences."""
        built, (queries, source, memory) = part(1, 16, 9, 0.5, dtype), inputs(12, 3, 16, 8, dtype)
        dropout.set_batch_offset(first)
        try:
            torch.manual_seed(1)
            y: Tensor = built(queries[:, first:], source[:, first:], Memory(memory[:, first:]))[0]
        finally:
            dropout.set_batch_offset(0)
        return y

    exact = rounding.expected(lambda: some(0, torch.float64)[:, 1:])
    exact.check(some(0)[:, 1:])
    exact.check(some(1))


def test_two_threads_give_what_one_gives() -> None:
    case = (2, 300, 2, 64, 400, 399)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = answers(case, 0.3)
        torch.set_num_threads(2)
        shared = answers(case, 0.3)
    finally:
        torch.set_num_threads(threads)
    exact = rounding.expected(lambda: answers(case, 0.3, torch.float64))
    exact.check(alone)
    exact.check(shared)


def test_a_nan_comes_out_and_stays_in_its_sequence() -> None:
    built, (queries, source, memory) = part(1, 16, 3), inputs(8, 2, 16, 2)
    with torch.no_grad():
        source[4, 1] = torch.nan
    y, _ = built(queries, source, Memory(memory))
    lost = y.isnan().any(dim=-1)
    assert lost[4:7, 1].all()
    assert not lost[:, 0].any()


def test_a_memory_that_needs_a_gradient_is_left_to_torch() -> None:
    source, memory = torch.zeros(2, 1, 4), torch.zeros(3, 1, 4)
    assert _window.serves(source, memory)
    assert not _window.serves(source, memory.requires_grad_())
    assert not _window.serves(source.double(), memory.detach().double())
    assert not _window.serves(source.to("meta"), memory.detach().to("meta"))

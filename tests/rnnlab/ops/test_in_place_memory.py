"""A memory in place holds what a memory that is copied holds, and attention over it says the same."""

import copy

import pytest
import torch

from rnnlab.components.attention.multi_head import MultiHead
from rnnlab.components.attention.single_head import SingleHead
from rnnlab.ops import native
from rnnlab.ops.window import InPlaceMemory, Memory
from rnnlab.rng import generator
from rnnlab.testing import rounding


@pytest.fixture(params=["compiled", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "plain":
        monkeypatch.setattr(native, "serves", lambda x, products=(): False)


def attention(heads: int, dim: int, window: int) -> SingleHead:
    torch.manual_seed(0)
    built = MultiHead(dim, heads=heads, memory=window).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return built


@pytest.mark.slow
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("heads", "window", "remembered"),
    [(1, 1, 0), (1, 9, 8), (2, 9, 0), (4, 200, 3), (1, 150, 149)],
    ids=["a window of one", "full", "filling", "growing", "longer than a batch"],
)
def test_a_memory_in_place_is_the_memory(heads: int, window: int, remembered: int) -> None:
    built = attention(heads, 16, window)
    draws = generator(0, 0, "inputs")
    memory = Memory(torch.randn(remembered, 3, 16, generator=draws))
    untouched = memory.positions.clone()
    twin, results = copy.deepcopy(built).double(), []
    with torch.inference_mode():
        in_place = built.in_place(memory)
        for _ in range(150):
            queries, source = torch.randn(2, 1, 3, 16, generator=draws).unbind()
            exact, _ = twin(queries.double(), source.double(), Memory(memory.positions.double()))
            want, memory = built(queries, source, memory)  # type: ignore[assignment]
            got, in_place = built(queries, source, in_place)  # type: ignore[assignment]
            results.append((got, want, exact))
    got, want, exact = (torch.cat(each) for each in zip(*results, strict=True))
    rounding.check_no_worse(got, than=want, exact=exact)
    assert in_place.memory.filled == min(window, remembered + 150)
    first = Memory(torch.randn(remembered, 3, 16, generator=generator(0, 0, "inputs")))
    assert torch.equal(first.positions, untouched)


def test_it_keeps_the_newest_positions_and_no_more_room_than_they_need() -> None:
    memory = InPlaceMemory(torch.zeros(0, 1, 1), window=100)
    for number in range(250):
        memory.add(torch.full((1, 1), float(number)))
    assert sorted(memory.positions.flatten().tolist()) == list(range(150, 250))
    assert len(memory._room) == 100


def test_a_window_far_longer_than_the_text_costs_no_room() -> None:
    memory = InPlaceMemory(torch.zeros(0, 1, 1), window=10**9)
    for number in range(200):
        memory.add(torch.full((1, 1), float(number)))
    assert memory.filled == 200
    assert len(memory._room) < 600


def test_more_than_a_position_at_a_time_is_refused() -> None:
    built = attention(1, 8, 4)
    x = torch.zeros(2, 1, 8)
    with pytest.raises(AssertionError, match="2 positions at a time"):
        built(x, x, built.in_place(built.initial_state(1)))


def attended(q: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T) k for q (B, H, D / H), scaled, and keys (M, B, H, D / H), which are the values as well."""
    weights = (q * keys).sum(-1).softmax(0)
    return (weights.unsqueeze(-1) * keys).sum(0).flatten(1)


@pytest.mark.skipif(native.kernels() is None, reason="there are no CPU kernels")
def test_two_threads_find_what_one_finds() -> None:
    draws = generator(0, 0, "keys")
    memory = InPlaceMemory(torch.randn(4000, 2, 32, generator=draws), window=5000)
    q = torch.randn(2, 32, generator=draws)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(memory.attend(q, heads=2))
    finally:
        torch.set_num_threads(threads)
    keys = memory.positions.double().unflatten(-1, (2, 16))  # (M, B, H, D / H)
    exact = rounding.expected(lambda: attended(q.double().unflatten(-1, (2, 16)), keys))
    for each in found:
        exact.check(each)

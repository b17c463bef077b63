import pytest
import torch
from torch import Tensor

from rnnlab.components.attention.projected import Projected, rotate
from rnnlab.errors import ConfigError
from rnnlab.ops.window import Memory
from rnnlab.testing import rounding


def by_hand(attention: Projected, queries: Tensor, source: Tensor) -> Tensor:
    """One query, one sequence and one head at a time, each key turned by its distance to the query."""
    depth = attention.dim // attention.heads
    q, k, v = attention.query(queries), attention.key(source), attention.value(source)
    y = torch.zeros_like(q)
    for t in range(len(queries)):
        for sequence in range(queries.shape[1]):
            for head in range(attention.heads):
                part = slice(head * depth, (head + 1) * depth)
                window = range(max(0, t - attention.memory + 1), t + 1)
                scores = []
                for s in window:
                    left, right = k[s, sequence, part].chunk(2)
                    key = torch.complex(left, right)
                    pace = 10000.0 ** (-torch.arange(depth // 2, dtype=torch.float64) / (depth // 2))
                    turned = key * torch.exp(1j * (s - t) * pace)
                    scores.append(q[t, sequence, part] @ torch.cat([turned.real, turned.imag]) / depth**0.5)
                weights = torch.stack(scores).softmax(0)
                y[t, sequence, part] = sum(w * v[s, sequence, part] for w, s in zip(weights, window, strict=True))
    return attention.output(y)


@pytest.mark.parametrize("memory", [1, 3, 100])
def test_it_attends_to_its_window_by_distance(memory: int) -> None:
    attention = Projected(8, heads=2, memory=memory).double()
    queries, source = torch.randn(2, 7, 2, 8, dtype=torch.float64)
    y, state = attention(queries, source, attention.initial_state(2))
    torch.testing.assert_close(y, by_hand(attention, queries, source))
    torch.testing.assert_close(state.positions, source[len(source) - min(memory - 1, 7) :])


@pytest.mark.parametrize("cuts", [[1] * 12, [5, 7], [2, 1, 9]])
def test_the_result_does_not_depend_on_how_the_text_is_cut(cuts: list[int]) -> None:
    attention = Projected(8, heads=2, memory=4).double()
    queries, source = torch.randn(2, 12, 2, 8, dtype=torch.float64)
    whole, _ = attention(queries, source, attention.initial_state(2))
    state, rows = attention.initial_state(2), []
    for q, s in zip(queries.split(cuts), source.split(cuts), strict=True):
        y, state = attention(q, s, state)
        rows.append(y)
    torch.testing.assert_close(torch.cat(rows), whole)


def test_far_positions_are_turned_as_exactly_as_near_ones() -> None:
    x = torch.randn(1, 64)
    exact = rotate(x.double(), first=5001)
    # a sum of two products with a cosine and a sine: five roundings, each at most of the largest x
    assert rounding.error(rotate(x, first=5001), exact) <= 5 * rounding.rounding_of(x)


def test_only_distances_matter() -> None:
    attention = Projected(8, heads=2, memory=6).double()
    x = torch.randn(5, 2, 8, dtype=torch.float64)
    fresh, _ = attention(x[-1:], x[-1:], Memory(x[:-1]))
    later, _ = attention(x, x, attention.initial_state(2))
    torch.testing.assert_close(fresh[0], later[-1])


@pytest.mark.parametrize(("arguments", "message"), [
    ({"dim": 8, "heads": 0}, "Projected.heads = 0"),
    ({"dim": 6, "heads": 2}, "Projected.heads = 2.*twice"),
    ({"dim": 8, "memory": 0}, "Projected.memory = 0"),
    ({"dim": 8, "dropout": 1.0}, "Projected.dropout = 1.0"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Projected(**arguments)  # type: ignore[arg-type]

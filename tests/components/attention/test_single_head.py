"""SingleHead and MultiHead against torch's own attention, and what their dropout and folding do."""

import copy
import math
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from rnnlab.components.attention.multi_head import MultiHead
from rnnlab.components.attention.projected import Projected
from rnnlab.components.attention.single_head import SingleHead
from rnnlab.errors import ConfigError
from rnnlab.model import count_parameters
from rnnlab.ops.dropout import set_batch_offset
from rnnlab.ops.window import Memory
from rnnlab.testing import rounding

DTYPES = [torch.float32, torch.float64]  # the first is compiled where there is a compiler, the second is torch's


@pytest.fixture(autouse=True)
def first_sequence() -> Iterator[None]:
    yield
    set_batch_offset(0)


def randomized(attention: SingleHead, dtype: torch.dtype = torch.float64) -> SingleHead:
    attention.to(dtype)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
        attention.query_norm.weight.add_(1.0)
    return attention


def by_torch(attention: SingleHead, queries: Tensor, keys: Tensor) -> Tensor:
    """Gated copies of queries (T, B, D), keys and values (M' + T, B, D), through torch's attention and a mask."""
    seen, H = len(keys) - len(queries), attention.heads
    q = torch.sigmoid(attention.q_gate) * attention.query_norm(attention.query(queries))
    k, v = torch.sigmoid(attention.k_gate) * keys, attention.value_gate() * keys
    place, key = torch.arange(seen, len(keys))[:, None], torch.arange(len(keys))[None]
    visible = (key <= place) & (key > place - attention.memory)
    q, k, v = (rearrange(x, "t b (h d) -> b h t d", h=H) for x in (q, k, v))
    return rearrange(F.scaled_dot_product_attention(q, k, v, attn_mask=visible), "b h t d -> t b (h d)")


CUTS = [(1, 0, 9, 100), (2, 0, 9, 4), (8, 3, 5, 4), (1, 6, 1, 7), (2, 6, 20, 7), (8, 0, 5, 1), (1, 300, 300, 350)]
"""H, positions seen before, T and M. A long one, because what is compiled takes some hundred queries at a time."""


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("heads", "seen", "T", "memory"), CUTS)
def test_it_is_masked_attention_over_gated_copies(
    heads: int, seen: int, T: int, memory: int, dtype: torch.dtype
) -> None:
    attention = randomized(MultiHead(8, heads=heads, memory=memory), dtype)
    twin = copy.deepcopy(attention).double()
    before = torch.randn(min(seen, memory - 1), 3, 8, dtype=dtype)
    queries, source, weight = (torch.randn(T, 3, 8, dtype=dtype) for _ in range(3))
    _, state = attention(queries, source, Memory(before))
    everything = torch.cat([before, source])
    kept = min(memory - 1, len(everything))
    assert torch.equal(state.positions, everything[len(everything) - kept :])  # as they came: gated when read

    def both(part: SingleHead, compute: Callable[..., Tensor], like: Tensor) -> list[Tensor]:
        """y and its gradients by queries, source and parameters."""
        leaves = [x.to(like.dtype).requires_grad_() for x in (queries, source)]
        y = compute(part, *leaves, before.to(like.dtype))
        inputs = (*leaves, *part.parameters())
        return [y, *torch.autograd.grad(y, inputs, weight.to(like.dtype), materialize_grads=True)]

    def attends(part: SingleHead, queries: Tensor, source: Tensor, before: Tensor) -> Tensor:
        y: Tensor = part(queries, source, Memory(before))[0]
        return y

    def reference(part: SingleHead, queries: Tensor, source: Tensor, before: Tensor) -> Tensor:
        return by_torch(part, queries, torch.cat([before, source]))

    exact = rounding.expected(lambda: both(twin, reference, weight.double()), dtype)
    exact.check(both(attention, attends, weight))


def test_one_head_of_many_is_the_single_head() -> None:
    torch.manual_seed(0)
    single, multi = randomized(SingleHead(8, memory=5)), MultiHead(8, heads=1, memory=5).double()
    multi.load_state_dict(single.state_dict())
    queries, source = torch.randn(2, 9, 2, 8).double()
    for got, want in zip(*(part(queries, source, part.initial_state(2)) for part in (single, multi)), strict=True):
        torch.testing.assert_close(got, want)


def test_scores_are_scaled_by_the_width_of_a_head() -> None:
    """With one visible difference between two keys, the odds of looking at them tell the scale."""
    for heads in (1, 4):
        attention = MultiHead(16, heads=heads, memory=2).double()
        with torch.no_grad():
            attention.value_gate.linear.bias.fill_(100.0)  # the gate is sigmoid(100) tanh(100) = 1
        source = torch.zeros(2, 1, 16).double()
        source[0, 0, 0] = 8.0
        queries = torch.randn(2, 1, 16).double()
        y, _ = attention(queries, source, attention.initial_state(1))
        q = 0.5 * attention.query_norm(attention.query(queries))[1, 0, 0]
        odds = torch.exp(q * 0.5 * 8.0 / math.sqrt(16 / heads))
        torch.testing.assert_close(y[1, 0, 0], 8.0 * odds / (1.0 + odds))


def test_all_gates_start_half_open_on_queries_and_keys_and_shut_on_values() -> None:
    """At the start g_v = sigmoid(f) tanh(c) with f and c near 0: attention adds almost nothing until it is learned."""
    attention = SingleHead(8)
    assert not attention.q_gate.any()
    assert not attention.k_gate.any()
    with torch.no_grad():
        attention.value_gate.linear.weight.zero_()  # as the model's initialization nearly does
        attention.value_gate.linear.bias.zero_()
    x = torch.randn(5, 2, 8)
    y, _ = attention(x, x, attention.initial_state(2))
    assert not y.any()


@pytest.mark.parametrize("heads", [1, 4])
def test_folding_replaces_the_static_gate_by_its_value(heads: int) -> None:
    attention = randomized(MultiHead(16, heads=heads, memory=6)).eval()
    folded = attention.fold()
    assert count_parameters(attention) - count_parameters(folded) == 2 * 16 * 16 + 2 * 16
    queries, source = torch.randn(2, 9, 2, 16).double()
    state = Memory(torch.randn(5, 2, 16).double())
    for got, want in zip(folded(queries, source, state), attention(queries, source, state), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    assert isinstance(attention.value_gate.v_gate, Tensor)  # the attention itself is not touched


def dropping(heads: int = 2, memory: int = 8, p: float = 0.5) -> SingleHead:
    return randomized(MultiHead(8, heads=heads, memory=memory, dropout=p), torch.float32).train()


def output(attention: SingleHead, queries: Tensor, source: Tensor, state: Memory, seed: int = 7) -> Tensor:
    torch.manual_seed(seed)
    y: Tensor = attention(queries, source, state)[0]
    return y


def test_dropout_acts_in_training_alone_and_never_reaches_the_memory() -> None:
    attention = dropping()
    queries, source = torch.randn(2, 6, 2, 8)
    y, state = attention(queries, source, attention.initial_state(2))
    assert not torch.equal(y, attention(queries, source, attention.initial_state(2))[0])
    assert torch.equal(state.positions, source)
    attention.eval()
    twin = copy.deepcopy(attention).double()
    expected = rounding.expected(lambda: by_torch(twin, queries.double(), source.double()))
    expected.check(attention(queries, source, attention.initial_state(2))[0])


def test_dropout_leaves_the_expected_output_nearly_where_it_was() -> None:
    """Values and weights are scaled up for what is lost; one key only, so that the softmax itself cannot move."""
    attention = dropping(heads=1, memory=1, p=0.3)
    x = torch.ones(2000, 8, 8)
    y = output(attention, x, x, attention.initial_state(8))
    gate = attention.value_gate().detach()
    assert (y.mean((0, 1)) / gate - 1).abs().max().item() < 0.05
    share = (y == 0).double().mean().item()  # either the weight or the value is dropped
    assert share == pytest.approx(1 - 0.7**2, abs=0.02)


@pytest.mark.parametrize("seen", [0, 5])
def test_a_sequence_is_dropped_alike_whichever_rank_holds_it(seen: int) -> None:
    attention = dropping().double()
    queries, source = torch.randn(2, 6, 4, 8).double()
    before = torch.randn(seen, 4, 8).double()
    whole = output(attention, queries, source, Memory(before))
    set_batch_offset(2)
    shard = output(attention, queries[:, 2:], source[:, 2:], Memory(before[:, 2:]))
    torch.testing.assert_close(shard, whole[:, 2:])
    set_batch_offset(0)
    assert not torch.allclose(output(attention, queries[:, 2:], source[:, 2:], Memory(before[:, 2:])), whole[:, 2:])


def test_low_precision_keeps_the_softmax_exact_enough() -> None:
    attention = randomized(SingleHead(32, memory=300), torch.float32).eval()
    queries, source = torch.randn(2, 40, 2, 32)
    state = Memory(torch.randn(250, 2, 32))
    plain, _ = attention(queries, source, state)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = attention(queries, source, state)
    assert ((y.float() - plain).square().mean().sqrt() / plain.square().mean().sqrt()).item() < 0.05


@pytest.mark.parametrize("part", [SingleHead, MultiHead])
@pytest.mark.parametrize(("arguments", "message"), [
    ({"memory": 0}, r"Head\.memory = 0: .* sees at least itself"),
    ({"memory": -5}, r"Head\.memory = -5"),
    ({"dropout": 1.0}, r"Head\.dropout = 1\.0"),
    ({"dropout": -0.1}, r"Head\.dropout = -0\.1"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused_under_the_parts_own_name(
    part: type[SingleHead], arguments: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=part.__name__.removesuffix("Head") + message):
        part(8, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("heads", [0, -1, 3, 16])
def test_heads_have_to_divide_the_width(heads: int) -> None:
    with pytest.raises(ConfigError, match=rf"MultiHead\.heads = {heads}: the width 8 has to be a multiple"):
        MultiHead(8, heads=heads)


@pytest.mark.parametrize("memory", [9, 40])
@pytest.mark.parametrize("parts", [SingleHead, MultiHead, Projected])
def test_under_autocast_the_memory_is_kept_in_its_dtype_and_loses_nothing_by_it(parts: type, memory: int) -> None:
    """Products round to bfloat16 anyway: a memory that is kept in float32 gives the same y, in twice the room."""
    attention, x = parts(16, memory=memory), torch.randn(12, 2, 16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        _, half = attention(x, x, attention.initial_state(2))
        assert half.positions.dtype == torch.bfloat16
        full = Memory(x[-len(half.positions) :])
        got, want = attention(x, x, half)[0], attention(x, x, full)[0]
    assert torch.equal(got, want)

"""Dropout on the CPU: how much it drops, what it keeps, and that a sequence's mask is the sequence's own.

The masks of a GPU are held to these in tests/gpu.
"""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import rnnlab.ops.dropout as ops
from rnnlab.ops.dropout import KeyTable, draw_key, drawn_keys, dropout, set_batch_offset

DTYPES = [torch.float32, torch.float64, torch.bfloat16]  # what is compiled, if anything is, and what is not


@pytest.fixture(autouse=True)
def first_sequence() -> Iterator[None]:
    set_batch_offset(0)
    yield
    set_batch_offset(0)


def dropped(x: Tensor, p: float, seed: int = 3, batch_dim: int | None = 1) -> Tensor:
    torch.manual_seed(seed)
    return dropout(x, p, training=True, batch_dim=batch_dim)


@pytest.mark.parametrize("batch_dim", [0, 1, 2, None])
@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_the_rate_of_zeros_is_the_one_asked_for(p: float, batch_dim: int | None) -> None:
    y = dropped(torch.ones(100, 16, 125), p, batch_dim=batch_dim)
    deviation = math.sqrt(p * (1 - p) / y.numel())
    assert abs((y == 0).double().mean().item() - p) < 5 * deviation


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_kept_is_scaled_so_that_the_mean_stays(dtype: torch.dtype) -> None:
    x = torch.randn(50, 4, 20, dtype=dtype)
    y = dropped(x, 0.25)
    assert y.dtype == dtype
    kept = y != 0
    torch.testing.assert_close(y[kept], (x[kept].double() / 0.75).to(dtype))


def test_every_type_drops_the_same_places() -> None:
    masks = [dropped(torch.ones(30, 5, 17, dtype=dtype), 0.3) != 0 for dtype in DTYPES]
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[0], masks[2])


def test_the_places_are_those_of_the_values_not_of_their_storage() -> None:
    x = torch.randn(9, 4, 8)
    strided = x.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert not strided.is_contiguous()
    assert torch.equal(dropped(strided, 0.5), dropped(x, 0.5))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("batch_dim", "shape"), [(1, (13, 8, 6)), (0, (8, 5, 7)), (2, (3, 5, 8, 2))])
def test_a_sequence_has_the_same_mask_whichever_rank_holds_it(
    batch_dim: int, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x = torch.randn(shape, dtype=dtype)
    whole = dropped(x, 0.4, batch_dim=batch_dim)
    for ranks in (2, 4, 8):
        shards = []
        for rank, shard in enumerate(x.chunk(ranks, dim=batch_dim)):
            set_batch_offset(rank * 8 // ranks)
            shards.append(dropped(shard, 0.4, batch_dim=batch_dim))
        assert torch.equal(torch.cat(shards, dim=batch_dim), whole)


def test_a_weight_has_the_same_mask_on_every_rank() -> None:
    weight = torch.randn(12, 12)
    here = dropped(weight, 0.5, batch_dim=None)
    set_batch_offset(4)
    assert torch.equal(dropped(weight, 0.5, batch_dim=None), here)


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_the_gradient_passes_where_the_value_did(dtype: torch.dtype) -> None:
    x = torch.randn(20, 3, 15, dtype=dtype, requires_grad=True)
    y = dropped(x, 0.3)
    torch.manual_seed(999)  # what is drawn in between, or a new offset, does not reach the backward
    set_batch_offset(5)
    weight = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, weight)
    torch.testing.assert_close(gradient, torch.where(y != 0, weight / 0.7, 0.0))


def test_the_same_seed_gives_the_same_mask_and_another_call_another() -> None:
    x = torch.ones(40, 4, 40)
    torch.manual_seed(1)
    first, second = dropout(x, 0.5, True), dropout(x, 0.5, True)
    torch.manual_seed(1)
    assert torch.equal(dropout(x, 0.5, True), first)
    assert torch.equal(dropout(x, 0.5, True), second)
    assert_unrelated(first, second)
    assert_unrelated(first, dropped(x, 0.5, seed=2))


def test_sequences_positions_and_features_are_dropped_independently() -> None:
    y = dropped(torch.ones(64, 16, 64), 0.5)
    assert_unrelated(y[:, :-1], y[:, 1:])
    assert_unrelated(y[:-1], y[1:])
    assert_unrelated(y[..., :-1], y[..., 1:])
    for sequence in range(16):
        assert abs((y[:, sequence] != 0).double().mean().item() - 0.5) < 5 * 0.5 / 64


def assert_unrelated(a: Tensor, b: Tensor) -> None:
    """The signs agree about half of the time."""
    agreement = ((a != 0) == (b != 0)).double().mean().item()
    assert abs(agreement - 0.5) < 5 * 0.5 / math.sqrt(a.numel())


@pytest.mark.parametrize(("p", "training"), [(0.5, False), (0.0, True), (0.0, False)])
def test_nothing_is_dropped_or_drawn_outside_training_or_at_rate_zero(p: float, training: bool) -> None:
    x = torch.randn(5, 2, 3)
    before = torch.get_rng_state()
    assert dropout(x, p, training) is x
    assert torch.equal(torch.get_rng_state(), before)


def test_one_draw_from_the_generator_is_all_a_mask_costs() -> None:
    """Whatever its size: what is drawn after it does not depend on how many values were dropped."""
    draws = []
    for size in (1, 1000):
        dropped(torch.ones(size, 2, 3), 0.5)
        draws.append(torch.rand(()).item())
    assert draws[0] == draws[1]


@pytest.mark.parametrize("shape", [(0, 3, 4), (4, 0, 3), (1, 1, 1)])
def test_small_and_empty_tensors_keep_their_shape(shape: tuple[int, ...]) -> None:
    assert dropped(torch.ones(shape), 0.5).shape == shape


def several(x: Tensor, weight: Tensor) -> Tensor:
    """Four masks, of which two depend on nothing that was masked before them."""
    y = dropout(x, 0.3, True) + dropout(x, 0.5, True)
    return dropout(y.transpose(0, 1) @ dropout(weight, 0.2, True, batch_dim=None), 0.4, True, batch_dim=0)


def test_a_table_holds_the_keys_that_single_draws_would_give() -> None:
    for count in (0, 1, 7, 100):
        torch.manual_seed(count)
        single, end = [draw_key() for _ in range(count)], torch.rand(())
        table = KeyTable(count, torch.device("cpu"))
        torch.manual_seed(count)
        table.draw()
        assert table.keys.tolist() == single
        assert torch.rand(()) == end


def test_a_pass_takes_the_keys_of_its_table_and_draws_none() -> None:
    x, weight = torch.randn(6, 3, 5), torch.randn(5, 5)
    torch.manual_seed(1)
    before = drawn_keys()
    want = several(x, weight)
    table = KeyTable(drawn_keys() - before, torch.device("cpu"))
    assert len(table.keys) == 4
    torch.manual_seed(1)
    table.draw()
    end = torch.get_rng_state()
    for _ in range(2):
        with table.in_use():
            assert torch.equal(several(x, weight), want)
    assert torch.equal(torch.get_rng_state(), end)


def test_a_place_in_the_table_gives_the_mask_of_the_key_that_stands_there() -> None:
    """What a recorded pass asks for on a device, where the key is not known before it runs."""
    shape, table = torch.Size((6, 3, 5)), KeyTable(3, torch.device("cpu"))
    table.draw()
    with table.in_use():
        masks = [ops.keep_mask(shape, 0.3, -1 - place, 2, 1) for place in range(3)]
        for _ in range(3):
            draw_key()
    for mask, key in zip(masks, table.keys.tolist(), strict=True):
        assert torch.equal(mask, ops.keep_mask(shape, 0.3, key, 2, 1))


def test_on_another_device_the_host_reads_nothing_back() -> None:
    """On torch's meta device there is nothing to be read."""
    x, weight = (torch.empty(size, device="meta", requires_grad=True) for size in ((6, 3, 5), (5, 5)))
    torch.autograd.grad(several(x, weight).sum(), (x, weight))
    table = KeyTable(4, x.device)
    table.draw()
    with table.in_use():
        gradients = torch.autograd.grad(several(x, weight).sum(), (x, weight))
    assert [gradient.shape for gradient in gradients] == [x.shape, weight.shape]


@pytest.mark.parametrize("more", [-1, 1])
def test_a_pass_with_more_or_fewer_masks_than_its_table_has_keys_is_noticed(more: int) -> None:
    table = KeyTable(4 + more, torch.device("cpu"))
    with pytest.raises(AssertionError, match="masks in a recorded pass"), table.in_use():
        several(torch.randn(6, 3, 5), torch.randn(5, 5))
    assert draw_key() >= 0, "the table is out of use"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own, about itself
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.long)])
def test_compiled_code_draws_the_same_masks_in_one_graph_that_is_compiled_once(backend: str) -> None:
    import torch._dynamo.testing

    counter = torch._dynamo.testing.CompileCounterWithBackend(backend)
    compiled = torch.compile(several, fullgraph=True, backend=counter)
    for seed in range(4):
        results = []
        for function in (several, compiled):
            x, weight = (torch.ones(size, requires_grad=True) for size in ((6, 3, 5), (5, 5)))
            torch.manual_seed(seed)
            y = function(x, weight)
            (y * torch.arange(5.0)).sum().backward()
            results.append((y.detach(), x.grad, weight.grad, torch.rand(())))
        for want, got in zip(*results, strict=True):
            torch.testing.assert_close(got, want)
    assert counter.frame_count == 1


def test_the_operators_keep_the_rules_of_the_dispatcher() -> None:
    x = torch.randn(4, 3, 5, requires_grad=True)
    arguments = (x, torch.tensor(7), 0.3, 2, 1, 1, 1)
    torch.library.opcheck(ops._compiled_mask, arguments, test_utils=("test_schema", "test_faketensor"))
    torch.library.opcheck(ops._compiled_key, (torch.zeros(()),), test_utils=("test_schema", "test_faketensor"))

"""What is computed on a GPU is what the CPU computes: masks to the bit, sums to rounding."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from rnnlab.ops import triton_devices
from rnnlab.ops.dropout import KeyTable, apply_mask, drawn_keys, dropout, set_batch_offset
from rnnlab.training.cudagraph import record
from tests.rnnlab.ops.test_dropout import several
from tests.rnnlab.ops.test_recurrence import GATES, assert_close, problem, reference, scanned

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]  # the last is left to torch
LAYOUTS = [
    ((13, 8, 6), 1), ((64, 16, 1024), 1), ((33, 5, 1000), 1), ((4, 2, 60, 170), 0), ((3, 5, 8, 2), 2),
    ((300, 200), None), ((1, 1, 1), 1), ((70_000, 3, 1), 1), ((0, 3, 4), 1),
]  # fmt: skip


@pytest.fixture(autouse=True)
def first_sequence() -> Iterator[None]:
    set_batch_offset(3)
    yield
    set_batch_offset(0)


def dropped(x: Tensor, p: float, batch_dim: int | None, device: str) -> tuple[Tensor, Tensor]:
    """y, and the gradient of x for ones."""
    torch.manual_seed(5)
    x = x.to(device, copy=True).requires_grad_()
    y = dropout(x, p, True, batch_dim)
    y.backward(torch.ones_like(y))
    assert x.grad is not None
    return y.detach().cpu(), x.grad.cpu()


def test_triton_is_used_here() -> None:
    assert triton_devices.usable(torch.empty((), device="cuda").device)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("shape", "batch_dim"), LAYOUTS)
def test_masks_and_gradients_are_those_of_the_cpu_bit_for_bit(
    shape: tuple[int, ...], batch_dim: int | None, dtype: torch.dtype
) -> None:
    x = torch.randn(shape).to(dtype)
    for p in (0.01, 0.3, 0.9):
        for got, want in zip(dropped(x, p, batch_dim, "cuda"), dropped(x, p, batch_dim, "cpu"), strict=True):
            assert torch.equal(got, want)
    turned = x.transpose(0, -1).contiguous().transpose(0, -1)
    assert torch.equal(dropped(turned, 0.3, batch_dim, "cuda")[0], dropped(x, 0.3, batch_dim, "cpu")[0])


def test_places_past_2_to_the_31_are_reached() -> None:
    if torch.cuda.mem_get_info()[0] < 20 * 2**30:
        pytest.skip("needs 20 GB")
    inner = 2**30 + 24
    whole = apply_mask(torch.ones(3, inner, dtype=torch.bfloat16, device="cuda"), 0.3, 7, 0, batch_dim=0)
    last = apply_mask(torch.ones(1, inner, dtype=torch.bfloat16, device="cuda"), 0.3, 7, 2, batch_dim=0)
    assert torch.equal(whole[2:], last)


def test_many_narrow_rows_are_all_reached() -> None:
    if torch.cuda.mem_get_info()[0] < 20 * 2**30:
        pytest.skip("needs 20 GB")
    rows = 2**30 + 200  # counted in 64 bits
    whole = apply_mask(torch.ones(1, rows, 2, dtype=torch.bfloat16, device="cuda"), 0.3, 7, 0, batch_dim=1)
    last = apply_mask(torch.ones(1, 200, 2, dtype=torch.bfloat16, device="cuda"), 0.3, 7, 2**30, batch_dim=1)
    assert torch.equal(whole[:, 2**30 :], last)
    assert abs((whole == 0).sum().item() / whole.numel() - 0.3) < 1e-3


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_no_mask_is_kept_and_the_host_waits_for_nothing() -> None:
    x = torch.ones(256, 16, 1024, device="cuda", requires_grad=True)
    dropout(x, 0.3, True)  # compiles
    before = torch.cuda.memory_allocated()
    torch.cuda.set_sync_debug_mode("error")
    try:
        y = dropout(x, 0.3, True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.cuda.memory_allocated() - before == y.numel() * y.element_size()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_replays_of_a_cuda_graph_have_the_masks_of_eager_steps(dtype: torch.dtype) -> None:
    x, weight = (torch.ones(size, dtype=dtype, device="cuda", requires_grad=True) for size in ((6, 3, 8), (8, 8)))

    def work() -> tuple[Tensor, tuple[Tensor, ...]]:
        y = several(x, weight)
        return y, torch.autograd.grad(y, (x, weight), torch.ones_like(y))

    before = drawn_keys()
    work()
    table = KeyTable(drawn_keys() - before, x.device)

    def recorded() -> tuple[Tensor, tuple[Tensor, ...]]:
        with table.in_use():
            return work()

    torch.manual_seed(0)
    repeat, outcome = record(recorded)
    got = []
    for _ in range(3):
        table.draw()
        repeat()
        got.append([outcome[0].clone(), *(grad.clone() for grad in outcome[1])])
    torch.manual_seed(0)
    for found in got:
        y, grads = work()
        for one, other in zip(found, (y, *grads), strict=True):
            torch.testing.assert_close(one, other)
    assert not torch.equal(got[0][0], got[1][0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own, about itself
def test_compiled_code_has_the_masks_of_the_cpu() -> None:
    compiled = torch.compile(several, fullgraph=True)
    for seed in range(3):
        results = []
        for function, device in ((several, "cpu"), (compiled, "cuda")):
            x, weight = (torch.ones(size, device=device, requires_grad=True) for size in ((6, 3, 8), (8, 8)))
            torch.manual_seed(seed)
            y = function(x, weight)
            grads = torch.autograd.grad(y, (x, weight), torch.ones_like(y))
            results.append([tensor.detach().cpu() for tensor in (y, *grads)])
        for want, got in zip(*results, strict=True):
            torch.testing.assert_close(got, want)


@pytest.mark.parametrize("gates", GATES)
@pytest.mark.parametrize(("steps", "batch", "dim"), [(1, 2, 9), (33, 5, 7), (100, 16, 256), (1024, 2, 40)])
def test_the_recurrence_is_that_of_a_float64_loop(steps: int, batch: int, dim: int, gates: str) -> None:
    given = problem(steps, gates, batch, dim)
    there = [x.cuda() for x in given]
    assert_close(scanned(*there, None), reference(*given))  # type: ignore[arg-type]


def test_the_recurrence_chooses_triton_on_a_card() -> None:
    given = [x.cuda() for x in problem(40)]
    chosen, forced = scanned(*given, None), scanned(*given, "triton")
    assert all(torch.equal(x, y) for x, y in zip(chosen, forced, strict=True))

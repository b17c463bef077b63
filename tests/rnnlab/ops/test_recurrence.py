import pytest
import torch
from torch import Tensor

from rnnlab.ops import native, recurrence
from rnnlab.ops.recurrence import linear_recurrence
from rnnlab.testing import rounding

GATES = {
    "anywhere": lambda a: a,
    "zero": torch.zeros_like,
    "one": torch.ones_like,
    "near one": lambda a: 1 - a * 1e-4,
    "zero, one and between": lambda a: torch.where(a < 0.3, 0.0, torch.where(a > 0.4, 1.0, a)),
}


ROUNDINGS = 3
"""The carry is a double: h is rounded once, and a gradient that is a product with h twice; one more for its order."""


@pytest.fixture(params=["reference", "native"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "native" and native.kernels() is None:
        pytest.skip("there are no CPU kernels here")
    return str(request.param)


def problem(steps: int, gates: str = "anywhere", batch: int = 2, dim: int = 9) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """a, b, h0 and a gradient for h."""
    random = torch.Generator().manual_seed(steps)
    a = GATES[gates](torch.rand(steps, batch, dim, generator=random))
    b, h0, grad = (torch.randn(shape, generator=random) for shape in (a.shape, a.shape[1:], a.shape))
    return a, b, h0, grad


def reference(a: Tensor, b: Tensor, h0: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
    """h and the gradients of a, b, h0, by a float64 loop."""
    a, b, h0 = (x.double().requires_grad_() for x in (a, b, h0))
    h, rows = h0, []
    for a_t, b_t in zip(a.unbind(), b.unbind(), strict=True):
        h = a_t * h + b_t
        rows.append(h)
    return torch.stack(rows).detach(), *torch.autograd.grad(torch.stack(rows), (a, b, h0), grad.double())


def scanned(a: Tensor, b: Tensor, h0: Tensor, grad: Tensor, backend: str | None) -> tuple[Tensor, ...]:
    inputs = [x.clone().requires_grad_() for x in (a, b, h0)]
    h = linear_recurrence(*inputs, backend)  # type: ignore[arg-type]
    return h.detach(), *torch.autograd.grad(h, inputs, grad)


def assert_close(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for name, x, y in zip(("h", "grad a", "grad b", "grad h0"), found, expected, strict=True):
        error, allowed = rounding.error(x, y), ROUNDINGS * rounding.rounding_of(y)
        assert error <= allowed, f"{name} is off by {error:.1e}; rounding its results explains {allowed:.1e}"


@pytest.mark.parametrize("gates", GATES)
@pytest.mark.parametrize("steps", [1, 2, 33, 1024])
def test_values_and_gradients_are_those_of_a_float64_loop(backend: str, steps: int, gates: str) -> None:
    given = problem(steps, gates)
    assert_close(scanned(*given, backend), reference(*given))


@pytest.mark.slow
@pytest.mark.parametrize("gates", ["one", "near one"])
def test_rounding_does_not_add_up_over_8192_steps(backend: str, gates: str) -> None:
    given = problem(8192, gates, batch=1, dim=3)
    assert_close(scanned(*given, backend), reference(*given))


def test_the_number_of_threads_changes_no_bit() -> None:
    if native.kernels() is None:
        pytest.skip("there are no CPU kernels here")
    given = problem(64, batch=8, dim=200)  # above the size under which the kernel keeps to one thread
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(scanned(*given, "native"))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))


def test_gradients_and_inputs_may_have_any_strides(backend: str) -> None:
    a, b, h0, grad = problem(6, batch=4, dim=4)
    turned = [x.transpose(-1, -2).contiguous().transpose(-1, -2) for x in (a, b, h0)]
    spread = torch.ones(()).expand(a.shape)  # what .sum() sends back
    assert_close(scanned(*turned, spread, backend), reference(a, b, h0, torch.ones_like(grad)))


def test_what_is_not_a_number_comes_out_where_it_went_in(backend: str) -> None:
    a, b, h0, _ = problem(8)
    b[3, 1, 2] = torch.nan
    h = linear_recurrence(a, b, h0, backend)  # type: ignore[arg-type]
    assert h[3:, 1, 2].isnan().all()
    assert h.isnan().sum() == 5


def test_double_precision_passes_a_numerical_gradient_check() -> None:
    inputs = [x.double().requires_grad_() for x in problem(5, batch=2, dim=3)[:3]]
    assert torch.autograd.gradcheck(linear_recurrence, inputs)


def test_a_single_step_agrees_with_the_scan(backend: str) -> None:
    given = problem(1)
    assert_close(scanned(*given, None), tuple(x.double() for x in scanned(*given, backend)))


@pytest.mark.long
def test_torch_compile_takes_it_in_one_graph() -> None:
    a, b, h0, _ = problem(7)
    compiled = torch.compile(
        lambda a, b, h0: linear_recurrence(a.sigmoid(), b, h0).sum(), fullgraph=True, backend="aot_eager"
    )
    plain, traced = ([x.clone().requires_grad_() for x in (a, b, h0)] for _ in range(2))
    linear_recurrence(plain[0].sigmoid(), plain[1], plain[2]).sum().backward()
    compiled(*traced).backward()
    for x, y in zip(plain, traced, strict=True):
        torch.testing.assert_close(x.grad, y.grad)


def test_the_operator_keeps_the_rules_of_the_dispatcher(backend: str) -> None:
    inputs = [x.requires_grad_() for x in problem(4)[:3]]
    torch.library.opcheck(recurrence._recurrence, (*inputs, backend), test_utils=("test_schema", "test_faketensor"))

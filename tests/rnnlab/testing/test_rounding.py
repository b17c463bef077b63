"""What rounding allows: more than arithmetic errs by in any order, and less than a slip does."""

import pytest
import torch
from torch import Tensor

from rnnlab.testing import rounding


def draws(*shape: int, positive: bool = False) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return x.abs() if positive else x


def one_after_the_other(a: Tensor, b: Tensor) -> Tensor:
    """a b, added up in the worst order."""
    total = torch.zeros(a.shape[0], b.shape[1])
    for k in range(a.shape[1]):
        total = total + a[:, k : k + 1] * b[k : k + 1]
    return total


@pytest.mark.parametrize("positive", [False, True], ids=["of both signs", "positive"])
@pytest.mark.parametrize("terms", [1, 16, 256, 2048])
def test_a_product_in_any_order_is_within_what_is_allowed_and_its_bound_is_no_wide_one(
    terms: int, positive: bool
) -> None:
    a, b = draws(20, terms, positive=positive), draws(terms, 20, positive=positive)
    exact = rounding.expected(lambda: a.double() @ b.double())
    exact.check(a @ b)
    exact.check(one_after_the_other(a, b))
    assert exact.allowed[0] < 100 * rounding.error(one_after_the_other(a, b), exact.values[0])


def test_the_bound_follows_the_condition_of_what_is_computed() -> None:
    x = draws(1000)
    near, far = (rounding.expected(lambda c=c: (x.double() + c) - c).allowed[0] for c in (1.0, 1e4))
    assert 1e3 < far / near < 1e5
    rounding.expected(lambda: (x.double() + 1e4) - 1e4).check((x + 1e4) - 1e4)


def test_a_tanh_near_zero_may_be_off_by_what_one_near_one_is() -> None:
    x = torch.tensor([1e-3])
    exact = rounding.expected(lambda: 0.5 * x.double().tanh())
    exact.check(0.5 * (2 / (1 + torch.exp(-2 * x)) - 1))
    assert exact.allowed[0] < 1e-6


def test_gradients_are_moved_as_well() -> None:
    x = draws(50)

    def gradient(x: Tensor) -> Tensor:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(torch.log(torch.cosh(leaf) * 1e3).sum(), leaf)[0]

    rounding.expected(lambda: gradient(x.double())).check(gradient(x))


@pytest.mark.parametrize("slip", [1e-5, torch.nan, torch.inf])
def test_a_slip_is_refused_by_its_name(slip: float) -> None:
    x = draws(4, 4)
    exact = rounding.expected(lambda: {"y": x.double().tanh(), "sum": x.double().sum()})
    with pytest.raises(AssertionError, match=r"\['y'\] is off by"):
        exact.check({"y": x.tanh() + slip * torch.eye(4), "sum": x.sum()})


def test_an_infinity_that_belongs_there_is_no_error() -> None:
    exact = rounding.expected(lambda: torch.tensor([0.0, 1.0], dtype=torch.float64).log())
    exact.check(torch.tensor([0.0, 1.0]).log())


def test_another_shape_or_structure_is_refused() -> None:
    exact = rounding.expected(lambda: (torch.ones(2, dtype=torch.float64),))
    with pytest.raises(AssertionError, match="shape"):
        exact.check((torch.ones(3),))
    with pytest.raises(AssertionError, match="in place of"):
        exact.check([torch.ones(2), torch.ones(2)])


def test_the_error_of_another_computation_is_the_measure_where_one_is_given() -> None:
    a, b = draws(30, 300), draws(300, 30)
    exact, other = a.double() @ b.double(), one_after_the_other(a, b)
    rounding.check_no_worse(a @ b, than=other, exact=exact)
    with pytest.raises(AssertionError, match="is off by"):
        rounding.check_no_worse((a.bfloat16() @ b.bfloat16()).float(), than=other, exact=exact)


def test_random_numbers_of_the_program_are_left_alone() -> None:
    torch.manual_seed(3)
    wanted = torch.rand(3)
    torch.manual_seed(3)
    rounding.expected(lambda: torch.ones(3, dtype=torch.float64) / 3)
    assert torch.equal(torch.rand(3), wanted)

"""How far a result in low precision may lie from the exact one: by its arithmetic, and not by what one processor gave.

    exact = rounding.expected(lambda: reference(x.double()))    # in float64, with what roundings do to it
    exact.check(kernel(x))                                      # in float32: any backend, on any machine

The reference runs several times in float64, and each of its operations moves what it gives by a random relative error
of the size of a rounding. How far its results move is the condition of the whole computation. Where that takes too
long, the error of another computation in the same precision is the measure:

    rounding.check_no_worse(fast(x), than=plain(x), exact=plain(x.double()))

Source: Parker 1997, "Monte Carlo arithmetic", UCLA CSD-970002.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rnnlab.rng import derive

Results: TypeAlias = Any
"""A tensor, or any nesting of tuples, lists and dicts of tensors, as torch.utils._pytree flattens it."""

DRAWS = 4
SAFETY = 8.0
"""Over the largest of the errors that were drawn: a few draws do not find the worst."""

CUDNN = 8.0
"""Times what rounding explains, for cuDNN's recurrent layers in float32. On an H100 they were off by up to 5 times as
much, for reasons that were not looked into; in TF32 it is hundreds of times as much."""

NO_WORSE = 16.0
"""Times the error of another computation: sums in another order, and functions to 2 units in the last place for 1."""


TANH = 2.0
"""Half units in the last place of 1 that a tanh may be off by, in one draw, before `SAFETY`."""


@dataclass(frozen=True)
class Expected:
    """Exact results, and how far from each a result in lower precision may lie."""

    values: list[Tensor]  # in float64, in the order in which `Results` are flattened
    allowed: list[float]  # for each the largest error
    names: list[str]  # for each its place in `Results`

    def check(self, got: Results, *, times: float = 1.0) -> None:
        """Hold results of the expected structure to what rounding allows, several `times` if computed more often.

        Raises: AssertionError that names the result, its error and what was allowed.
        """
        found = _flat(got)
        if sorted(found) != sorted(self.names):
            raise AssertionError(f"{sorted(found)[:20]} in place of {sorted(self.names)[:20]}")
        for name, value, allowed in zip(self.names, self.values, self.allowed, strict=True):
            tensor = found[name]
            assert tensor.shape == value.shape, f"{name}: shape {tuple(tensor.shape)}, not {tuple(value.shape)}"
            worst = error(tensor, value)
            assert worst <= times * allowed, f"{name} is off by {worst:.2e}; rounding explains {times * allowed:.2e}"


def expected(compute: Callable[[], Results], dtype: torch.dtype = torch.float32) -> Expected:
    """The results of a computation in float64, and what rounding to `dtype` at each of its operations does to them.

    Args:
        compute: gives the same results at each call, in float64; gradients that it takes inside are moved as well.
        dtype: the precision whose roundings are tried.
    """
    unit = torch.finfo(dtype).eps / 2
    exact = {name: tensor.detach().double().cpu() for name, tensor in _flat(compute()).items()}
    moved = dict.fromkeys(exact, 0.0)
    for draw in range(DRAWS):
        with _Roundings(unit, draw):
            results = compute()
        for name, tensor in _flat(results).items():
            moved[name] = max(moved[name], error(tensor, exact[name]))
    allowed = [SAFETY * max(moved[name], rounding_of(exact[name], dtype)) for name in exact]
    return Expected(list(exact.values()), allowed, list(exact))


def check_no_worse(got: Results, *, than: Results, exact: Results, times: float = NO_WORSE) -> None:
    """Hold results to the error that another computation of the same results makes, both against float64.

    Args:
        got, than, exact: of one structure; `exact` in float64.
        times: how many times the other's error is allowed, or a rounding of the largest result where that is more.
    Raises: AssertionError that names the result, its error and what was allowed.
    """
    others, values = _flat(than), _flat(exact)
    allowed = []
    for name, value in values.items():
        own = error(others[name], value)
        allowed.append(times * max(own, rounding_of(value, others[name].dtype)))
    Expected([value.detach().double().cpu() for value in values.values()], allowed, list(values)).check(got)


def error(got: Tensor, exact: Tensor) -> float:
    """The largest, infinite if there is a NaN; of no numbers 0."""
    if not got.numel():
        return 0.0
    got, exact = got.detach().double().cpu(), exact.detach().double().cpu()
    worst = float(torch.where(got == exact, 0.0, (got - exact).abs()).max())
    return math.inf if math.isnan(worst) else worst


def rounding_of(x: Tensor, dtype: torch.dtype = torch.float32) -> float:
    """Half a unit in the last place of the largest of x, in `dtype`."""
    return torch.finfo(dtype).eps / 2 * float(x.detach().abs().max()) if x.numel() else 0.0


class _Roundings(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operations that give numbers which are off by a random relative error of at most `unit`.

    A sum of K terms, one after the other, rounds K times: the error of what it gives and of what it adds up is taken
    sqrt(K) / 2 times as large. What vectors and blocks add up errs by less. A tanh is off by as much near 0 as near 1.
    """

    def __init__(self, unit: float, draw: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._unit = unit
        self._generator = torch.Generator().manual_seed(derive(0, draw, "rounding"))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.is_view or func.overloadpacket.__name__ in EXACT:
            return func(*args, **kwargs)
        if func._schema.is_mutable:  # what is written in place has to be what was passed in
            answer = func(*args, **kwargs)
            _each(answer, lambda x: x.mul_(self._error(x, self._unit)).add_(self._offset(func, x)))
            return answer
        terms = _terms_of(func, args)
        unit = self._unit * max(1.0, math.sqrt(terms) / 2)
        if terms > 1 or func.namespace != "aten":  # inside an operator of our own there are many operations
            args = tuple(_each(argument, lambda x: x * self._error(x, unit)) for argument in args)
        return _each(func(*args, **kwargs), lambda x: x * self._error(x, unit) + self._offset(func, x))

    def _offset(self, func: Any, x: Tensor) -> Tensor | float:
        """What a function errs by whatever it gives: kernels have tanh(x) from 2 / (1 + exp(-2 x)) - 1."""
        if func.overloadpacket.__name__ not in ("tanh", "tanh_"):
            return 0.0
        return TANH * self._unit * (self._error(x, 1.0) - 1.0)

    def _error(self, x: Tensor, unit: float) -> Tensor:
        return torch.empty_like(x).uniform_(1.0 - unit, 1.0 + unit, generator=self._generator)


EXACT = {
    "detach", "clone", "copy_", "_to_copy", "lift_fresh", "empty", "empty_like", "new_empty", "new_zeros",
    "zeros", "zeros_like", "zero_", "ones", "ones_like", "full", "full_like", "fill_", "masked_fill",
    "masked_fill_", "arange", "stack", "cat", "set_", "resize_", "neg", "abs", "where", "clamp", "maximum",
    "index", "index_select", "gather", "embedding", "rand", "randn", "uniform_", "normal_", "bernoulli_", "eq",
    "ne", "lt", "le", "gt", "ge",
}  # fmt: skip
"""Operations that make, choose or copy numbers, which rounds nothing."""


def _terms_of(func: Any, args: Any) -> int:
    """K, how many terms a result of this operation adds up; 1 where it adds up none."""
    tensors = [argument for argument in args if isinstance(argument, Tensor)]
    name = func.overloadpacket.__name__
    if name in ("mm", "bmm", "mv", "dot") or "layer_norm" in name or "softmax" in name:
        return tensors[0].shape[-1]
    if name in ("addmm", "baddbmm", "addmv"):
        return tensors[1].shape[-1]
    if name in ("sum", "mean", "linalg_vector_norm", "cumsum", "embedding_dense_backward"):
        along = args[1] if name in ("sum", "mean") and len(args) > 1 else None
        shape = tensors[0].shape
        return math.prod(shape[dim] for dim in along) if along else max(1, math.prod(shape))
    return 1


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value) if value.is_floating_point() and value.numel() else value
    if isinstance(value, tuple | list):
        return type(value)(_each(entry, change) for entry in value)
    return value


def _flat(results: Results) -> dict[str, Tensor]:
    leaves, _ = torch.utils._pytree.tree_flatten_with_path(results)
    return {torch.utils._pytree.keystr(path) or "the result": leaf for path, leaf in leaves if isinstance(leaf, Tensor)}

"""Every backend of every operator against its reference in float64: values, gradients, shapes, precisions, devices.

An operator that is added stands in OPERATORS, and is held to all of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.matmul import products_in
from rnnlab.ops import (
    boom_layer,
    gru_layer,
    linear_recurrence,
    lstm_layer,
    min_gru_scan,
    native,
    qrnn_layer,
    rg_lru_scan,
    sru_scan,
    window_attention,
)
from rnnlab.ops.dropout import set_batch_offset
from rnnlab.ops.qrnn import Gates
from rnnlab.rng import generator
from rnnlab.testing import rounding

Shape = dict[str, Any]


@dataclass(frozen=True)
class Operator:
    """How to call an operator.

    Attributes:
        compute: (leaves, backend, shape) -> its results.
        leaves: sizes of the tensors that get a gradient, from a shape.
        scale: of their standard normal values; a fraction, so that gates stay where they bend.
        backends: beside the reference.
        shapes: of all its cases; T is the time, B the batch, D the width.
        autocast: whether its products follow autocast.
    """

    name: str
    compute: Callable[[Sequence[Tensor], str | None, Shape], tuple[Tensor, ...]]
    leaves: Callable[[Shape], list[tuple[int, ...]]]
    backends: tuple[str, ...]
    shapes: tuple[Shape, ...]
    scale: float = 0.5
    autocast: bool = True

    def inputs(self, shape: Shape, dtype: torch.dtype, device: str = "cpu") -> list[Tensor]:
        """Leaves, the same numbers in every dtype."""
        draws = generator(0, 0, self.name)
        drawn = [self.scale * torch.randn(size, generator=draws) for size in self.leaves(shape)]
        return [x.to(device, dtype).requires_grad_() for x in drawn]

    def results(self, leaves: Sequence[Tensor], backend: str | None, shape: Shape) -> dict[str, Any]:
        """Its results, and the gradients of a weighted sum of them by every leaf."""
        torch.manual_seed(1)  # of the masks
        found = self.compute(leaves, backend, shape)
        draws = generator(0, 0, "weights")
        weighted = [(y * torch.randn(y.shape, generator=draws).to(y)).sum() for y in found if y.requires_grad]
        gradients = torch.autograd.grad(torch.stack(weighted).sum(), leaves)
        return {"results": found, "gradients": gradients}


def lstm(leaves: Sequence[Tensor], backend: Any, shape: Shape) -> tuple[Tensor, ...]:
    x, h, c, *weights = leaves
    return lstm_layer(x, list(weights), h, c, backend=backend)


def gru(leaves: Sequence[Tensor], backend: Any, shape: Shape) -> tuple[Tensor, ...]:
    x, h, *weights = leaves
    return gru_layer(x, list(weights), h, backend=backend)


def qrnn(leaves: Sequence[Tensor], backend: Any, shape: Shape) -> tuple[Tensor, ...]:
    x, c, *weights = leaves
    gates = Gates(*zip(weights[::2], weights[1::2], strict=True))
    return qrnn_layer(x, gates, c, zoneout=shape.get("zoneout", 0.0), backend=backend)


def sru(leaves: Sequence[Tensor], backend: Any, shape: Shape) -> tuple[Tensor, ...]:
    return sru_scan(*leaves, backend=backend)


def min_gru(leaves: Sequence[Tensor], backend: Any, shape: Shape) -> tuple[Tensor, ...]:
    return (min_gru_scan(*leaves, backend=backend),)


def rg_lru(leaves: Sequence[Tensor], backend: Any, shape: Shape) -> tuple[Tensor, ...]:
    projected, x, k, h = leaves
    return (rg_lru_scan(projected, x, F.logsigmoid(k), h, backend=backend),)


def boom(leaves: Sequence[Tensor], backend: Any, shape: Shape) -> tuple[Tensor, ...]:
    return (boom_layer(*leaves, p=shape.get("p", 0.0), backend=backend),)


def window(leaves: Sequence[Tensor], backend: Any, shape: Shape) -> tuple[Tensor, ...]:
    q, source = leaves
    seen = torch.randn(shape["seen"], *source.shape[1:], generator=generator(0, 0, "memory")).to(source)
    options = {"heads": shape["heads"], "window": shape["window"], "p": shape.get("p", 0.0)}
    y, memory = window_attention(q, source, seen, **options, backend=backend)
    return y, memory.detach()


def recurrence(leaves: Sequence[Tensor], backend: Any, shape: Shape) -> tuple[Tensor, ...]:
    return (linear_recurrence(*leaves, backend=backend),)


def recurrent_leaves(gates: int, states: int) -> Callable[[Shape], list[tuple[int, ...]]]:
    def leaves(s: Shape) -> list[tuple[int, ...]]:
        rows, D = gates * s["D"], s["D"]
        return [(s["T"], s["B"], D), *[(s["B"], D)] * states, (rows, D), (rows, D), (rows,), (rows,)]

    return leaves


PLAIN = tuple({"T": T, "B": B, "D": D} for T, B, D in ((1, 1, 1), (1, 3, 8), (9, 1, 33), (20, 5, 16), (7, 8, 40)))
DROPPED = tuple({**shape, "p": 0.3} for shape in PLAIN[2:4])
WINDOWS = {  # heads, T, B, D, window, seen
    "full": (1, 20, 3, 32, 13, 12), "filling": (2, 20, 3, 32, 60, 7), "empty": (1, 9, 2, 16, 60, 0),
    "of one": (4, 5, 2, 16, 1, 0), "shorter than the chunk": (2, 20, 2, 16, 4, 3), "one query": (1, 1, 2, 16, 9, 8),
    "blocks": (3, 519, 1, 15, 300, 299),
}  # fmt: skip
NAMES = ("heads", "T", "B", "D", "window", "seen")

OPERATORS = [
    Operator("lstm", lstm, recurrent_leaves(4, 2), ("torch", "native"), PLAIN),
    Operator("gru", gru, recurrent_leaves(3, 1), ("torch", "native"), PLAIN),
    Operator(
        "qrnn", qrnn,
        lambda s: [(s["T"], s["B"], s["D"]), (s["B"], s["D"]), *[(s["D"], s["D"]), (s["D"],)] * 3],
        ("native",), (*PLAIN, {**PLAIN[3], "zoneout": 0.2}),
    ),
    Operator(
        "sru", sru, lambda s: [(s["T"], s["B"], 3 * s["D"]), (s["T"], s["B"], s["D"]), (s["D"],), (s["B"], s["D"])],
        ("native",), PLAIN, scale=1.0, autocast=False,
    ),
    Operator(
        "min_gru", min_gru, lambda s: [(s["T"], s["B"], 2 * s["D"]), (s["B"], s["D"])],
        ("native",), PLAIN, scale=1.0, autocast=False,
    ),
    Operator(
        "rg_lru", rg_lru,
        lambda s: [(s["T"], s["B"], 2 * s["D"]), (s["T"], s["B"], s["D"]), (s["D"],), (s["B"], s["D"])],
        ("native",), PLAIN, scale=1.0, autocast=False,
    ),
    Operator(
        "boom", boom, lambda s: [(s["T"], s["B"], s["D"]), (3 * s["D"], s["D"]), (3 * s["D"],)],
        ("native",), (*PLAIN, *DROPPED),
    ),
    Operator(
        "window", window, lambda s: [(s["T"], s["B"], s["D"])] * 2, ("native",),
        tuple({**dict(zip(NAMES, one, strict=True)), "p": p} for one in WINDOWS.values() for p in (0.0, 0.3)),
        scale=1.0,
    ),
    Operator(
        "recurrence", recurrence, lambda s: [(s["T"], s["B"], s["D"])] * 2 + [(s["B"], s["D"])], ("native", "triton"),
        (*PLAIN, {"T": 100, "B": 5, "D": 9}), autocast=False,
    ),
]  # fmt: skip


def short(shape: Shape) -> str:
    return " ".join(f"{name}={value}" for name, value in shape.items())


CASES = [
    pytest.param(
        operator,
        backend,
        shape,
        id=f"{operator.name} {backend} {short(shape)}",
        marks=[pytest.mark.slow] if shape["T"] > 100 else [],  # in float64, for a second each
    )
    for operator in OPERATORS
    for backend in operator.backends
    for shape in operator.shapes
]
NATIVE = [operator for operator in OPERATORS if "native" in operator.backends]


@pytest.fixture(autouse=True)
def first_sequence() -> Iterator[None]:
    yield
    set_batch_offset(0)


def needed(backend: str) -> None:
    """Skip where the backend cannot be had."""
    if backend == "native" and native.kernels() is None:
        pytest.skip("there are no CPU kernels here")
    if backend == "triton":
        pytest.skip("on the CPU Triton is interpreted: tests/gpu does it in a process of its own")


def exactly(operator: Operator, shape: Shape, dtype: torch.dtype = torch.float32) -> rounding.Expected:
    leaves = operator.inputs(shape, torch.float64)
    return rounding.expected(lambda: operator.results(leaves, "reference", shape), dtype)


@pytest.mark.parametrize(("operator", "backend", "shape"), CASES)
def test_values_and_gradients_are_the_references(operator: Operator, backend: str, shape: Shape) -> None:
    needed(backend)
    exactly(operator, shape).check(operator.results(operator.inputs(shape, torch.float32), backend, shape))


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_the_reference_itself_in_single_precision(operator: Operator) -> None:
    shape = operator.shapes[0]
    exactly(operator, shape).check(operator.results(operator.inputs(shape, torch.float32), "reference", shape))


@pytest.mark.slow
@pytest.mark.parametrize("operator", [one for one in NATIVE if one.autocast], ids=lambda operator: operator.name)
@pytest.mark.parametrize("dtype", [torch.bfloat16], ids=str)
@pytest.mark.parametrize("number", [0, -1])
def test_under_autocast_only_products_are_rounded(operator: Operator, dtype: torch.dtype, number: int) -> None:
    needed("native")
    shape = operator.shapes[number]
    with torch.autocast("cpu", dtype):
        found = operator.results(operator.inputs(shape, torch.float32), "native", shape)
    assert all(x.dtype == torch.float32 for x in found["gradients"])
    exactly(operator, shape, dtype).check(found)


@pytest.mark.parametrize("operator", NATIVE, ids=lambda operator: operator.name)
@pytest.mark.parametrize(("batch", "dim", "threads"), [(1, 30, 1), (3, 30, 1), (13, 70, 1), (75, 17, 1), (9, 200, 3)])
def test_one_position_without_gradients(operator: Operator, batch: int, dim: int, threads: int) -> None:
    """Inference has kernels of its own, which read every weight once for a few sequences."""
    needed("native")
    heads = {"heads": next(n for n in (3, 2, 1) if dim % n == 0)} if operator.name == "window" else {}
    shape = {**operator.shapes[-1], "T": 1, "B": batch, "D": dim, "p": 0.0, **heads}
    doubles, floats = (operator.inputs(shape, dtype) for dtype in (torch.float64, torch.float32))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with torch.no_grad():
            exact = rounding.expected(lambda: operator.compute(doubles, "reference", shape))
            exact.check(operator.compute(floats, "native", shape))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("operator", NATIVE, ids=lambda operator: operator.name)
def test_any_strides_will_do(operator: Operator) -> None:
    needed("native")
    shape = operator.shapes[3]
    turned = [
        x.detach().transpose(0, -1).contiguous().transpose(0, -1).requires_grad_()
        for x in operator.inputs(shape, torch.float32)
    ]
    exactly(operator, shape).check(operator.results(turned, "native", shape))


@pytest.mark.slow
@pytest.mark.parametrize("operator", NATIVE, ids=lambda operator: operator.name)
def test_several_threads_find_what_one_finds(operator: Operator) -> None:
    needed("native")
    large = {"T": 40, "B": 4, "D": 96} | ({"heads": 2, "window": 300, "seen": 299} if operator.name == "window" else {})
    exact, threads = exactly(operator, large), torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            exact.check(operator.results(operator.inputs(large, torch.float32), "native", large))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("operator", NATIVE, ids=lambda operator: operator.name)
def test_a_nan_comes_out_and_stays_in_its_sequence(operator: Operator) -> None:
    needed("native")
    shape = operator.shapes[3] | {"p": 0.0}
    leaves = [x.detach() for x in operator.inputs(shape, torch.float32)]
    place = 1 if operator.name == "window" else 0  # the source; elsewhere the input
    leaves[place][0, 0, 2] = torch.nan
    y = operator.compute(leaves, "native", shape)[0]
    assert y[0, 0].isnan().any()
    assert not y[:, 1:].isnan().any()


@pytest.mark.parametrize(
    "operator", [one for one in OPERATORS if one.name in ("boom", "window")], ids=lambda one: one.name
)
def test_sequences_keep_their_masks_on_another_rank(operator: Operator) -> None:
    shape = operator.shapes[3] | {"p": 0.5}

    def some(first: int, dtype: torch.dtype) -> Tensor:
        """y of the sequences from `first` on, as the rank that holds them computes it."""
        leaves = [x.detach()[:, first:] if x.dim() == 3 else x.detach() for x in operator.inputs(shape, dtype)]
        if operator.name == "window":
            seen = torch.randn(shape["seen"], shape["B"], shape["D"], generator=generator(0, 0, "memory")).to(dtype)
            options = {"heads": shape["heads"], "window": shape["window"], "p": 0.5}
        set_batch_offset(first)
        torch.manual_seed(1)
        if operator.name == "window":
            return window_attention(leaves[0], leaves[1], seen[:, first:], **options)[0]
        return operator.compute(leaves, None, shape)[0]

    exact = rounding.expected(lambda: some(0, torch.float64)[:, 1:])
    exact.check(some(0, torch.float32)[:, 1:])
    exact.check(some(1, torch.float32))


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_what_the_kernels_do_not_cover_is_left_to_torch(operator: Operator) -> None:
    """Doubles, and tensors without numbers: nothing is asked for by name."""
    shape = operator.shapes[1]
    doubles = operator.inputs(shape, torch.float64)
    got, want = (operator.results(doubles, backend, shape) for backend in (None, "reference"))
    for x, y in zip((*got["results"], *got["gradients"]), (*want["results"], *want["gradients"]), strict=True):
        torch.testing.assert_close(x, y)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
@pytest.mark.parametrize("number", [1, 3])
def test_what_a_gpu_chooses_agrees(operator: Operator, number: int) -> None:
    shape = operator.shapes[number]
    with products_in("fp32"):
        found = operator.results(operator.inputs(shape, torch.float32, "cuda"), None, shape)
    exactly(operator, shape).check(found, times=rounding.CUDNN if operator.name in ("lstm", "gru") else 1.0)

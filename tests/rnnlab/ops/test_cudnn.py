"""Recurrent layers in half precision. On the CPU the layer is the reference in float16, all that the scaling sees of
cuDNN; where there is a CUDA device cuDNN itself is held to the same.
"""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rnnlab.ops import cudnn, gru, lstm
from rnnlab.ops.cudnn import Layer, lying_flat, run_layer
from rnnlab.ops.gru import gru_layer
from rnnlab.ops.lstm import lstm_layer
from rnnlab.rng import generator

STATES = {"lstm": 2, "gru": 1}
GATES = {"lstm": 4, "gru": 3}
REFERENCES: dict[str, Layer] = {
    "lstm": lambda x, weights, states: lstm.reference(x, weights, *states),
    "gru": lambda x, weights, states: gru.reference(x, weights, *states),
}
LAYERS: dict[str, Layer] = {
    "lstm": lambda x, weights, states: lstm_layer(x, weights, *states),
    "gru": lambda x, weights, states: gru_layer(x, weights, *states),
}
REALISTIC = 1e-6
"""Root mean square of the gradient at an LSTM's outputs, in a model of the paper's size [nats]."""

ROUNDED = 4e-3
"""Relative error of a gradient in float16 that lost nothing to underflow: eight times the rounding of one number."""

both = pytest.mark.parametrize("kind", ["lstm", "gru"])
on_a_gpu = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]


class Given:
    """A layer's weights and inputs in float64, and the gradient at its outputs."""

    def __init__(self, kind: str, steps: int = 60, batch: int = 3, dim: int = 16, size: float = REALISTIC) -> None:
        draws = generator(0, 0, kind)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=draws, dtype=torch.float64)

        rows = GATES[kind] * dim
        self.kind, self.x = kind, normal(steps, batch, dim)
        self.weights = [normal(*shape) * dim**-0.5 for shape in ((rows, dim), (rows, dim), (rows,), (rows,))]
        self.states = [normal(batch, dim) * 0.5 for _ in range(STATES[kind])]
        self.grads = [normal(steps, batch, dim) * size, *(normal(batch, dim) * size for _ in self.states)]

    def results(self, run: Callable[..., tuple[Tensor, ...]], dtype: torch.dtype, device: str = "cpu") -> list[Tensor]:
        """y, last states, and the gradients of x, the states and the weights, in float64."""
        leaves = [x.to(device, dtype).requires_grad_() for x in (self.x, *self.states, *self.weights)]
        states = 1 + len(self.states)
        outputs = run(leaves[0], leaves[states:], leaves[1:states])
        grads = [grad.to(device, out.dtype) for grad, out in zip(self.grads, outputs, strict=True)]
        return [x.detach().double().cpu() for x in (*outputs, *torch.autograd.grad(outputs, leaves, grads))]

    def exact(self) -> list[Tensor]:
        return self.results(REFERENCES[self.kind], torch.float64)


def in_half(layer: Layer, device: str = "cpu") -> Callable[..., tuple[Tensor, ...]]:
    """As a model under autocast to bfloat16 runs it."""

    def run(x: Tensor, weights: list[Tensor], states: list[Tensor]) -> tuple[Tensor, ...]:
        with torch.autocast(device, torch.bfloat16):
            return run_layer(layer, x, weights, states) if device == "cpu" else layer(x, weights, states)

    return run


def error(got: Tensor, want: Tensor) -> float:
    return float((got - want).norm() / want.norm())


@both
def test_small_gradients_are_not_lost(kind: str) -> None:
    given = Given(kind)
    got, want = given.results(in_half(REFERENCES[kind]), torch.float32), given.exact()
    outputs = 1 + len(given.states)
    assert max(map(error, got[outputs:], want[outputs:])) < ROUNDED


@both
def test_without_the_scale_they_would_be(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Given(kind)
    monkeypatch.setattr(cudnn, "LARGEST", 4e-6)  # about what the largest is by itself
    got, want = given.results(in_half(REFERENCES[kind]), torch.float32), given.exact()
    assert error(got[-4], want[-4]) > 5 * ROUNDED


@pytest.mark.long
@both
def test_gradients_that_all_point_the_same_way_stay_finite(kind: str) -> None:
    given = Given(kind, steps=2000, batch=8, dim=4)
    given.grads = [torch.full_like(grad, 1e5) for grad in given.grads]
    got, want = given.results(in_half(REFERENCES[kind]), torch.float32), given.exact()
    assert all(bool(x.isfinite().all()) for x in got)
    assert error(got[-1], want[-1]) < 0.1  # on the CPU the sums themselves are in float16


@both
def test_y_is_in_autocasts_dtype_and_states_and_gradients_in_their_own(kind: str) -> None:
    given = Given(kind)
    x, *weights = (tensor.float().requires_grad_() for tensor in (given.x, *given.weights))
    states = [given.states[0].float(), *(state.bfloat16() for state in given.states[1:])]
    y, *last = in_half(REFERENCES[kind])(x, weights, states)
    assert y.dtype == torch.bfloat16
    assert [state.dtype for state in last] == [state.dtype for state in states]
    assert {grad.dtype for grad in torch.autograd.grad(y.sum(), [x, *weights])} == {torch.float32}


@both
@pytest.mark.parametrize("value", [0.0, torch.inf, torch.nan])
def test_a_gradient_of_zeros_stays_and_one_that_is_not_finite_shows(kind: str, value: float) -> None:
    given = Given(kind)
    given.grads[0].fill_(0.0)
    given.grads = [grad * 0.0 for grad in given.grads]
    given.grads[0][7, 1, 2] = value
    got = given.results(in_half(REFERENCES[kind]), torch.float32)[1 + len(given.states) :]
    if value:
        assert not bool(got[-1].isfinite().all())
    else:
        assert not any(bool(grad.any()) for grad in got)


@both
def test_the_sequences_that_fill_a_batch_up_change_nothing(kind: str) -> None:
    """The layer is given 8; what comes back, gradients included, is of the 3."""
    given, batches = Given(kind), list[int]()

    def watched(x: Tensor, weights: list[Tensor], states: list[Tensor]) -> tuple[Tensor, ...]:
        batches.extend([x.shape[1], *(state.shape[0] for state in states)])
        return REFERENCES[kind](x, weights, states)

    got, want = given.results(in_half(watched), torch.float32), given.exact()
    assert set(batches) == {8}
    assert [x.shape for x in got] == [x.shape for x in want]
    assert max(map(error, got, want)) < ROUNDED


def test_weights_lie_in_one_piece_of_memory_as_cudnn_reads_them() -> None:
    weights = [torch.randn(shape) for shape in ((12, 3), (12, 3), (12,), (12,))]
    flat = lying_flat(weights)
    assert [x.data_ptr() - flat[0].data_ptr() for x in flat] == [4 * before for before in (0, 36, 72, 84)]
    assert all(torch.equal(x, y) for x, y in zip(flat, weights, strict=True))
    assert lying_flat(flat) is flat, "what lies flat is not copied"
    assert {x.dtype for x in lying_flat(flat, torch.float16)} == {torch.float16}


@both
def test_the_cpu_takes_a_state_in_half_precision_and_gives_it_back_so(kind: str) -> None:
    """As a checkpoint of another program, or of an older version on a GPU, may hold one."""
    given = Given(kind)
    x, *weights = (tensor.float() for tensor in (given.x, *given.weights))
    halves = [state.half() for state in given.states]
    y, *last = LAYERS[kind](x, weights, halves)
    assert {state.dtype for state in last} == {torch.float16}
    assert torch.equal(y, LAYERS[kind](x, weights, [state.float() for state in halves])[0])


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=on_a_gpu)])
@pytest.mark.parametrize("batch", [3, 16])
@both
def test_cudnn_in_half_loses_only_roundings(kind: str, batch: int, device: str) -> None:
    given = Given(kind, steps=200, batch=batch, dim=64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of weights that do not lie flat
        got = given.results(in_half(LAYERS[kind], device), torch.float32, device)
    assert max(map(error, got, given.exact())) < ROUNDED


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=on_a_gpu)])
@both
def test_cudnn_keeps_the_dtype_of_a_state(kind: str, device: str) -> None:
    given = Given(kind, batch=8, dim=64)
    x, *weights = (tensor.to(device, torch.float32) for tensor in (given.x, *given.weights))
    for dtype in (torch.float32, torch.float16):
        states = [state.to(device, dtype) for state in given.states]
        for enabled in (False, True):
            with torch.autocast(device, torch.bfloat16, enabled=enabled):
                y, *last = LAYERS[kind](x, weights, states)
            assert {state.dtype for state in last} == {dtype}
            assert y.dtype == (torch.bfloat16 if enabled else torch.float32)

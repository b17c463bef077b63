"""Laws about arithmetic: gradients that arrive and are right, low precision that stays near, compilers that agree."""

import copy
import warnings

import torch
from torch import Tensor

from rnnlab import rng
from rnnlab.state import State, detach, leaves, map_state
from rnnlab.testing import rounding
from rnnlab.testing.case import Case, Inputs, Subject
from rnnlab.testing.modules import MODULES, law

Gradients = list[tuple[str, Tensor, Tensor | None]]

T, B = 6, 2
STEP = 1e-5
"""Of a central difference in float64: its error is then near 1e-10."""

BF16_BOUND = 0.05
"""Largest root mean square error of bfloat16, relative to float32; its own rounding is 0.004."""


@law(*MODULES)
def every_parameter_learns(subject: Subject) -> None:
    """Every parameter, and the input, gets a gradient that is finite and not zero."""
    case = subject.case(T, B)
    case.module.train()
    named = _differentiable(case, _leaf_inputs(case), case.warm())
    largest = max(float(gradient.abs().max()) for _, _, gradient in named if gradient is not None)
    for name, _, gradient in named:
        if gradient is None:
            case.refuse(f"{name} gets no gradient")
        if not bool(gradient.isfinite().all()):
            case.refuse(f"the gradient of {name} is not finite")
        if float(gradient.abs().max()) <= 1e-12 * largest:
            case.refuse(f"the gradient of {name} is zero (at most {float(gradient.abs().max()):.0e}): it never learns")


@law(*MODULES)
def gradients_are_true(subject: Subject) -> None:
    """Gradients agree with central differences in float64, and those in float32 with those in float64."""
    case, inputs, warm = _in_training(subject, torch.float64)
    for name, tensor, gradient in _differentiable(case, inputs, warm):
        if gradient is None:
            continue
        direction = torch.randn(tensor.shape, generator=rng.generator(0, 0, name), dtype=torch.float64)
        claimed = float((gradient * direction).sum())
        measured = _slope(case, inputs, warm, tensor, direction)
        scale = float(gradient.norm())
        if not abs(claimed - measured) <= 1e-5 * max(scale, 1e-3):
            found = f"the gradient claims {claimed:.6g}, differences measure {measured:.6g}"
            case.refuse(f"along one direction of {name} {found}")
    single, inputs, warm = _in_training(subject, torch.float32)
    got, expected = _differentiable(single, inputs, warm), _expected_gradients(single, inputs, warm)
    _explained(single, _by_name(got), expected, "in float32")


@law(*MODULES)
def bfloat16_stays_near(subject: Subject) -> None:
    """Under bfloat16, autocast or all through, y stays finite and near y in float32."""
    case = subject.case(64, B, torch.float32)
    inputs, start = case.inputs(), case.start()
    want = case.run(inputs, start)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _near(case, case.run(inputs, start)[0], want, "under autocast to bfloat16")
    low = case.with_module(copy.deepcopy(case.module).bfloat16())
    y = low.run(tuple(tensor.bfloat16() for tensor in inputs), low.start())[0]
    if y.dtype != torch.bfloat16:
        case.refuse(f"the part in bfloat16 answers in {y.dtype}")
    _near(case, y, want, "in bfloat16")


@law(*MODULES, slow=True)
def compiled_is_eager(subject: Subject) -> None:
    """torch.compile gives the same numbers: y, the state carried on to another length, and the gradients."""
    case, inputs, start = _in_training(subject, torch.float32)
    longer = case.inputs("another length", T=T + 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own, about itself
        torch._dynamo.reset()
        compiled = case.with_module(torch.compile(case.module))  # type: ignore[arg-type]
        got, compiled_state = compiled.run(inputs, start)
        compiled_gradients = _differentiable(compiled, inputs, start)
        got_later = compiled.run(longer, detach(compiled_state))[0]
        torch._dynamo.reset()
    want, state = case.run(inputs, start)
    case.agree(got, want, "compiled, y differs")
    case.states_agree(compiled_state, state, "compiled, the state differs")
    found = {name.removeprefix("_orig_mod."): grad for name, grad in _by_name(compiled_gradients).items()}
    _explained(case, found, _expected_gradients(case, inputs, start), "compiled")
    want_later = case.run(longer, detach(state))[0]
    case.agree(got_later, want_later, "compiled, y of a second chunk of another length differs")


def _expected_gradients(case: Case, inputs: Inputs, state: State) -> rounding.Expected:
    """The gradients of the same numbers in float64, and what roundings to the case's precision do to them."""
    exact, given = case.in_double(), (inputs, state)
    doubles = map_state(lambda leaf: leaf.detach().double().requires_grad_() if leaf.requires_grad else leaf, given)
    return rounding.expected(lambda: _by_name(_differentiable(exact, *doubles)), case.setting.dtype)


def _explained(case: Case, got: dict[str, Tensor], expected: rounding.Expected, when: str) -> None:
    try:
        expected.check(got)
    except AssertionError as error:
        case.refuse(f"{when}, a gradient is not the one in float64: {error}")


def _by_name(gradients: Gradients) -> dict[str, Tensor]:
    return {name: gradient for name, _, gradient in gradients if gradient is not None}


def _differentiable(case: Case, inputs: Inputs, state: State) -> Gradients:
    """(name, tensor, gradient of the loss) for parameters, inputs and what requires a gradient of the state."""
    named: list[tuple[str, Tensor]] = list(case.module.named_parameters())
    named += [(f"input {i}", tensor) for i, tensor in enumerate(inputs)]
    named += [(path, leaf) for path, leaf in leaves(state) if leaf.requires_grad]
    named = [(name, tensor) for name, tensor in named if tensor.numel()]
    with torch.enable_grad():
        loss = _loss(case, inputs, state)
        gradients = torch.autograd.grad(loss, [tensor for _, tensor in named], allow_unused=True)
    return [(name, tensor, gradient) for (name, tensor), gradient in zip(named, gradients, strict=True)]


def _loss(case: Case, inputs: Inputs, state: State) -> Tensor:
    """A fixed random weighting of y: no symmetry of a part makes it flat."""
    y, _ = case.run(inputs, state)
    weights = torch.randn(y.shape, generator=rng.generator(case.setting.seed, 0, "loss"), dtype=torch.float64)
    return (y.double() * weights).sum()


def _slope(case: Case, inputs: Inputs, state: State, tensor: Tensor, direction: Tensor) -> float:
    """Central difference of the loss along a direction of one tensor, which is moved in place and put back."""
    kept = tensor.detach().clone()
    values = []
    for sign in (1, -1):
        tensor.detach().copy_(kept + sign * STEP * direction)
        values.append(float(_loss(case, inputs, state)))
    tensor.detach().copy_(kept)
    return (values[0] - values[1]) / (2 * STEP)


def _in_training(subject: Subject, dtype: torch.dtype) -> tuple[Case, Inputs, State]:
    """The part in training mode, and inputs and a state that require gradients."""
    case = subject.case(T, B, dtype)
    case.module.train()
    state = map_state(lambda leaf: leaf.detach().clone().requires_grad_(leaf.is_floating_point()), case.warm())
    return case, _leaf_inputs(case), state


def _leaf_inputs(case: Case) -> Inputs:
    return tuple(tensor.requires_grad_() for tensor in case.inputs())


def _near(case: Case, got: Tensor, want: Tensor, when: str) -> None:
    error = float((got.float() - want).square().mean().sqrt() / want.square().mean().sqrt())
    if not error <= BF16_BOUND:
        case.refuse(f"{when} y is off by {error:.2g} of its root mean square; up to {BF16_BOUND} is rounding")

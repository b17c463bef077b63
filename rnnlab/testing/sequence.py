"""Laws about the passage of time: what a part may see, what it carries, and what it must leave alone."""

import io
from itertools import pairwise

import torch
from torch import Tensor

from rnnlab import rng
from rnnlab import state as states
from rnnlab.errors import LawError
from rnnlab.state import leaves, map_state, select_batch
from rnnlab.testing.case import Case, Subject
from rnnlab.testing.modules import MODULES, SEQUENCES, law

SMALLEST, TYPICAL = (2, 2), (12, 3)
"""(T, B) of the cases, in the order they are tried."""


@law(*MODULES)
def shape_and_dtype(subject: Subject) -> None:
    """y has the shape and dtype of x, and the state keeps the dtypes it started with."""
    for dtype in (torch.float32, torch.float64):
        for T, B in ((1, 1), SMALLEST, TYPICAL):
            case = subject.case(T, B, dtype)
            inputs, start = case.inputs(), case.start()
            y, end = case.run(inputs, start)
            if y.shape != inputs[0].shape:
                case.refuse(f"x is {tuple(inputs[0].shape)} but y is {tuple(y.shape)}")
            if y.dtype != dtype:
                case.refuse(f"x is {dtype} but y is {y.dtype}")
            if not bool(y.isfinite().all()):
                case.refuse("y is not finite for a standard normal x")
            before = {path: leaf.dtype for path, leaf in leaves(start)}
            after = {path: leaf.dtype for path, leaf in leaves(end)}
            if before != after:
                case.refuse(f"the initial state holds {before}, the next one {after}")


@law(*SEQUENCES)
def state_keeps_its_dtype(subject: Subject) -> None:
    """Under autocast too, a state comes back in the dtypes it had; a memory may take its own when it is begun."""
    case = subject.case(*TYPICAL, torch.float32)
    for autocast in (None, torch.bfloat16, torch.float16):
        with torch.autocast("cpu", autocast, enabled=autocast is not None):
            before = case.start()
            for chunk in range(2):
                after = case.run(case.inputs(f"chunk {chunk}"), before)[1]
                found = dict(leaves(after))
                for path, leaf in leaves(before):
                    if leaf.numel() and found[path].dtype != leaf.dtype:
                        where = "" if autocast is None else f" under autocast to {autocast}"
                        case.refuse(
                            f"{path} was {leaf.dtype} and comes back as {found[path].dtype}{where}; products have "
                            "the dtype of autocast: carry `new.to(old.dtype)`"
                        )
                before = after


@law(*SEQUENCES)
def streaming(subject: Subject) -> None:
    """Any cut of the input, with the state carried, gives what one pass gives: the same outputs, the same state."""
    for T, B, dtype in ((*SMALLEST, torch.float64), (*TYPICAL, torch.float64), (*TYPICAL, torch.float32)):
        streams(subject.case(T, B, dtype))


def streams(case: Case) -> None:
    """Raises: LawError if some cut of the case's input gives another answer than one pass."""
    inputs, start = case.inputs(), case.start()
    whole, end = case.run(inputs, start)
    for cut in _cuts(case.setting.T):
        y, last = case.run_cut(inputs, start, cut)
        case.agree(y, whole, f"y of the text cut in {cut} is not y of one pass")
        case.states_agree(last, end, f"the state after the text cut in {cut} is not the state after one pass")


@law(*SEQUENCES)
def causality(subject: Subject) -> None:
    """Fresh noise after position t leaves the outputs up to t unchanged."""
    for T, B in (SMALLEST, TYPICAL):
        case = subject.case(T, B)
        warm = case.warm()
        for which, tensor in enumerate(case.inputs()):
            want = case.run(case.inputs(), warm)[0]
            for t in sorted({0, T // 2, T - 2}):
                inputs = list(case.inputs())
                inputs[which] = torch.cat([tensor[: t + 1], _fresh(tensor[t + 1 :])])
                got = case.run(tuple(inputs), warm)[0]
                case.agree(got[: t + 1], want[: t + 1], f"y up to position {t} changed with what comes after it")


@law("feedforward")
def position_wise(subject: Subject) -> None:
    """Each position is answered from itself alone: disturbing, cutting or reordering the others changes nothing."""
    for T, B in (SMALLEST, TYPICAL):
        case = subject.case(T, B)
        (x,) = inputs = case.inputs()
        want = case.run(inputs, None)[0]
        others = _fresh(x)
        others[T // 2] = x[T // 2]
        got = case.run((others,), None)[0]
        case.agree(got[T // 2], want[T // 2], f"y at position {T // 2} changed with x at other positions")
        for cut in _cuts(T):
            case.agree(case.run_cut(inputs, None, cut)[0], want, f"y of the text cut in {cut} is not y of one pass")
        case.agree(case.run((x.flip(0),), None)[0], want.flip(0), "reversing time does not reverse y")


@law(*MODULES)
def batch_independence(subject: Subject) -> None:
    """A sequence sees itself alone: disturb one and the others stand still; compute one and it is the same."""
    for T, B, dtype in ((1, 2, torch.float64), (*TYPICAL, torch.float64), (*TYPICAL, torch.float32)):
        case = subject.case(T, B, dtype)
        inputs, warm = case.inputs(), case.warm()
        want, end = case.run(inputs, warm)
        disturbed = tuple(_disturb_sequence(tensor) for tensor in inputs)
        got, last = case.run(disturbed, map_state(_disturb_sequence, warm))
        still = slice(1, None)
        case.agree(got[:, still], want[:, still], "disturbing sequence 0 changed y in other sequences")
        last, others = select_batch(last, still), select_batch(end, still)
        case.states_agree(last, others, "disturbing sequence 0 changed the state of other sequences")
        for which in (slice(0, 1), slice(1, B)):
            some = tuple(tensor[:, which] for tensor in inputs)
            got, last = case.run(some, select_batch(warm, which))
            claim = f"sequences {which.start} to {which.stop - 1} alone"
            case.agree(got, want[:, which], f"{claim} give another y than among the others")
            case.states_agree(last, select_batch(end, which), f"{claim} end in another state than among the others")


@law(*MODULES)
def purity(subject: Subject) -> None:
    """A call changes nothing but what it returns: not its input, its state, its parameters, nor the next call."""
    for training in (False, True):
        for T, B in (SMALLEST, TYPICAL):
            case = subject.case(T, B)
            case.module.train(training)
            inputs, other, fresh = case.inputs(), case.inputs("another input"), case.start()
            warm = case.warm()
            kept = [tensor.clone() for tensor in inputs], map_state(Tensor.clone, warm)
            parameters = {name: tensor.clone() for name, tensor in case.module.state_dict().items()}
            first, end = case.run(inputs, warm)
            for tensor, copy in zip(inputs, kept[0], strict=True):
                case.agree(tensor, copy, "the input was changed in place", 0.0)
            case.states_agree(warm, kept[1], "the state passed in was changed in place", 0.0)
            case.run(other, case.start())
            again, last = case.run(inputs, warm)
            case.agree(again, first, "the same call twice gave another y")
            case.states_agree(last, end, "the same call twice gave another state")
            case.states_agree(case.start(), fresh, "the initial state is no longer what it was", 0.0)
            for name, tensor in case.module.state_dict().items():
                case.agree(tensor.double(), parameters[name].double(), f"forward changed {name}", 0.0)


@law(*SEQUENCES)
def state(subject: Subject) -> None:
    """A state is tensors with the batch at dimension -2; it survives a file, and stays on the part's device."""
    case = subject.case(*TYPICAL)
    for batch in (1, 4):
        for path, leaf in leaves(case.start(batch)):
            _check_batch_dim(case, "initial_state", path, leaf, batch)
    warm = case.warm()
    for path, leaf in leaves(warm):
        _check_batch_dim(case, "the next state", path, leaf, case.setting.B)
    if any(leaf.requires_grad for _, leaf in leaves(case.start())):
        case.refuse("initial_state belongs to a graph; carry parameters in forward instead")

    with torch.enable_grad():
        grown = case.warm()
    cut = states.detach(grown)
    case.states_agree(cut, warm, "a state cut from its graph is not the state computed without one")
    if any(leaf.requires_grad for _, leaf in leaves(cut)):
        case.refuse("detaching the state leaves a graph behind it")

    file = io.BytesIO()
    torch.save({path: leaf.clone() for path, leaf in states.flatten(warm).items()}, file)
    file.seek(0)
    try:
        restored = states.unflatten(case.start(), torch.load(file, weights_only=True))
    except Exception as error:
        raise LawError(f"the state did not survive a file: {error} ({case.setting})") from error
    case.states_agree(restored, warm, "the state read from a file is not the one written", 0.0)
    inputs = case.inputs()
    resumed, straight = case.run(inputs, restored)[0], case.run(inputs, warm)[0]
    case.agree(resumed, straight, "y from the state read back is not y from the state kept")

    halves = [select_batch(warm, slice(0, 1)), select_batch(warm, slice(1, None))]
    joined = states.concat_batch(halves)
    case.states_agree(joined, warm, "sequences taken apart and joined are not the state they came from")
    elsewhere = subject.case(*TYPICAL).module
    if any(True for _ in elsewhere.parameters()):
        for path, leaf in leaves(elsewhere.to("meta").initial_state(1)):  # type: ignore[operator]
            if leaf.device.type != "meta":
                case.refuse(f"initial_state leaves {path} on {leaf.device} when the parameters move to another device")


@law(*SEQUENCES)
def bounded_state(subject: Subject) -> None:
    """The state stops growing: within its memory for a part that has one, at once for the others."""
    settles(subject.case(*TYPICAL))


def settles(case: Case) -> None:
    """Raises: LawError if the state still grows when as many positions as the case is long have passed."""
    sizes, carried = [], case.start()
    for chunk in range(3):
        carried = case.run(case.inputs(f"chunk {chunk}"), carried)[1]
        sizes.append({path: tuple(leaf.shape) for path, leaf in leaves(carried)})
    for before, after in pairwise(sizes):
        for path, shape in after.items():
            if shape != before.get(path):
                T = case.setting.T
                case.refuse(f"{path} is still growing after {T} positions: {before.get(path)}, then {shape}")


def _cuts(T: int) -> list[list[int]]:
    """Cuts of T positions, the simplest first: two pieces, single positions, and one uneven."""
    cuts = [[T // 2, T - T // 2], [1] * T, [1, T - 1], [T - 1, 1]]
    return cuts if T < 8 else [*cuts, [3, 1, T - 6, 2]]


def _fresh(tensor: Tensor) -> Tensor:
    """Noise of the tensor's shape that no input contains."""
    source = rng.generator(0, 0, "fresh noise")
    return 3 * torch.randn(tensor.shape, generator=source, dtype=torch.float64).to(tensor.dtype)


def _disturb_sequence(tensor: Tensor) -> Tensor:
    """The tensor with fresh noise in sequence 0."""
    copy = tensor.clone()
    if copy.is_floating_point():
        copy[..., :1, :] += _fresh(copy[..., :1, :])
    return copy


def _check_batch_dim(case: Case, where: str, path: str, leaf: Tensor, batch: int) -> None:
    if leaf.dim() < 2 or leaf.shape[states.BATCH_DIM] != batch:
        case.refuse(f"{where} of batch {batch} holds {path} {tuple(leaf.shape)}; the batch belongs at dimension -2")

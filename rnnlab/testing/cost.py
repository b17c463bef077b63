"""Laws about what a part says of itself: its cost, and a cheaper equal of itself for inference."""

from typing import Any, cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from rnnlab.errors import LawError
from rnnlab.interfaces import Foldable, HasStateKnob
from rnnlab.model import count_parameters
from rnnlab.shapes import without_numbers
from rnnlab.state_size import count_state, floats
from rnnlab.testing.case import Case, Setting, Subject
from rnnlab.testing.modules import MODULES, SEQUENCES, law

T, B = 12, 2
WIDE = 8
"""Times the usual width: there, what does not depend on the width is a small part of a cost."""
LONG_ENOUGH = 256
"""Positions over which whatever a part computes once a call no longer shows in its cost per position."""


@law(*MODULES)
def cost(subject: Subject) -> None:
    """macs() is a positive int that grows with width and memory and covers every product torch can count."""
    case = subject.case(T, B)
    here = _macs(case)
    wide, wider = (_macs(subject.case(1, 1, torch.float32, dim=WIDE * times * subject.dim)) for times in (1, 2))
    if not 1.5 * wide <= wider <= 4.5 * wide:
        at = WIDE * subject.dim
        case.refuse(f"macs() is {wide} at width {at} and {wider} at twice that; it should grow 2 to 4 times")
    if subject.has_memory:
        costs = [_macs(subject.case(T, B, memory=memory)) for memory in (5, 10)]
        if costs[1] <= costs[0]:
            case.refuse(f"macs() is {costs[0]} with memory 5 and {costs[1]} with memory 10; it should grow")
        return  # how many keys a chunk multiplies beyond its window is the implementation's choice
    long = subject.case(LONG_ENOUGH, 1, torch.float32)
    with FlopCounterMode(display=False) as counter:
        long.run(long.inputs(), long.start())
    counted = counter.get_total_flops() / 2 / LONG_ENOUGH
    if counted > 1.1 * here:
        case.refuse(f"macs() is {here}, but torch counts {counted:.0f} multiply-accumulates a position")


@law(*SEQUENCES)
def state_size(subject: Subject) -> None:
    """What `rnnlab.state_size` tells is what the state holds, in floats a sequence, once every memory is full."""
    memories: list[dict[str, Any]] = [{"memory": memory} for memory in (1, 2, 5)] if subject.has_memory else [{}]
    for arguments in memories:
        case = subject.case(T, B, **arguments)
        told, state = count_state(case.module), case.start()
        for chunk in range(2):
            state = case.run(case.inputs(f"chunk {chunk}"), state)[1]
        if type(told) is not int or told * B != floats(state):
            case.refuse(
                f"its state is told to take {told!r} floats, and takes {floats(state)} for {B} sequences after {2 * T} "
                f"positions; keep the length of its memory as `memory`, or give it a `state_size()`"
            )


@law("core", "attention", applies=lambda subject: isinstance(subject.build(Setting(T, B, subject.dim)), HasStateKnob))
def state_knob(subject: Subject) -> None:
    """What it names as the knob of its state is an argument that the state grows with."""
    case = subject.case(T, B)
    knob = cast(HasStateKnob, case.module).state_knob
    few, many = (
        count_state(
            subject.case(T, B, dim=at * subject.dim).module
            if knob == "dim"
            else subject.build(Setting(T, B, subject.dim, arguments={knob: at}))
        )
        for at in (2, 4)
    )
    if few >= many:
        case.refuse(f"its state takes {few} floats where {knob} is small and {many} where it is twice that")


@law(*MODULES)
def sizes_without_numbers(subject: Subject) -> None:
    """Built on torch's meta device, whose tensors have no numbers, it has the same parameters, macs() and state."""
    case = subject.case(T, B)
    try:
        with without_numbers():
            bare = case.with_module(subject.build(case.setting))
    except LawError as error:
        case.refuse(f"on the meta device, on which `rnnlab show` counts, {error}")
    own, counted = (
        {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
        for module in (case.module, bare.module)
    )
    if own != counted:
        case.refuse(f"it has the parameters {own}, and on the meta device {counted}")
    if _macs(case) != _macs(bare):
        case.refuse(f"macs() is {_macs(case)}, and on the meta device {_macs(bare)}")
    if count_state(case.module) != count_state(bare.module):
        case.refuse(
            f"its state takes {count_state(case.module)} floats, and on the meta device {count_state(bare.module)}"
        )


@law(*MODULES, applies=lambda subject: isinstance(subject.build(Setting(T, B, subject.dim)), Foldable))
def folding(subject: Subject) -> None:
    """fold() gives a module with fewer parameters and the same answers, and leaves the part as it was."""
    for dtype in (torch.float64, torch.float32):
        case = subject.case(T, B, dtype)
        before = {name: tensor.clone() for name, tensor in case.module.state_dict().items()}
        inputs, warm = case.inputs(), case.warm()
        folded = case.with_module(cast(Foldable, case.module).fold().eval())
        for name, tensor in case.module.state_dict().items():
            case.agree(tensor, before[name], f"folding changed {name} of the part itself", 0.0)
        fewer, many = count_parameters(folded.module), count_parameters(case.module)
        if fewer >= many:
            case.refuse(f"folded, the part has {fewer} parameters; it had {many}")
        want, end = case.run(inputs, warm)
        got, last = folded.run_cut(inputs, warm, [T // 2, T - T // 2])
        case.agree(got, want, "folded, the part answers differently")
        case.states_agree(last, end, "folded, the part ends in another state")
        if subject.kind != "feedforward":
            case.states_agree(folded.start(), case.start(), "folded, the part starts in another state")


def _macs(case: Case) -> int:
    macs = case.module.macs()  # type: ignore[operator]
    if type(macs) is not int or macs <= 0:
        case.refuse(f"macs() answers {macs!r}; it is a positive int")
    return macs

"""The law about reach: a part that says how far back its output depends on its input is held to it."""

from typing import Any

import torch

from rnnlab.interfaces import HasReach
from rnnlab.testing.case import Case, Subject
from rnnlab.testing.modules import SEQUENCES, law

MORE = 6
"""Positions of a case beyond the reach [positions]."""

B = 2


def has_reach(subject: Subject) -> bool:
    module = subject.case(1, 1).module
    return isinstance(module, HasReach) and module.reach is not None


@law(*SEQUENCES, applies=has_reach)
def reach(subject: Subject) -> None:
    """An input `reach` positions back can still influence an output, one further back cannot; whatever the cut."""
    memories: list[dict[str, Any]] = [{"memory": memory} for memory in (1, 2, 5)] if subject.has_memory else [{}]
    for arguments in memories:
        case = subject.case(1, B, **arguments)
        said = case.module.reach
        if not isinstance(said, int) or said < 0:
            case.refuse(f"reach = {said!r}: a number of positions, 0 or more")
        T = said + MORE
        case = subject.case(T, B, **arguments)
        for cut in ([T], [1] * T, [T - 4, 4]):
            _check_reach(case, said, cut)


def _check_reach(case: Case, said: int, cut: list[int]) -> None:
    start = case.start()
    want = case.run_cut(case.inputs(), start, cut)[0]
    for place in (0, MORE - 2):
        disturbed = tuple(tensor.clone() for tensor in case.inputs())
        for tensor, noise in zip(disturbed, case.inputs("disturbance"), strict=True):
            tensor[place] = 3 * noise[place]
        got = case.run_cut(disturbed, start, cut)[0]
        last = place + said
        where = f"cut in {cut}, input {place}"
        case.agree(got[last + 1 :], want[last + 1 :], f"{where} still influences y {said + 1} or more positions on")
        if torch.allclose(got[last], want[last], rtol=0, atol=1e-9):
            case.refuse(f"{where} does not influence y {said} positions on, which is its reach")

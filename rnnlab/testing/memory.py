"""Laws about the window: a query at t sees positions t - memory + 1 to t, however the text is cut."""

import torch

from rnnlab.testing.case import Case, Subject
from rnnlab.testing.modules import SEQUENCES, law
from rnnlab.testing.sequence import settles, streams

LONG = 10_000
"""A memory longer than anything a case contains [positions]."""

T, B = 12, 2


def has_memory(subject: Subject) -> bool:
    return subject.has_memory


@law(*SEQUENCES, applies=has_memory)
def memory_of_one(subject: Subject) -> None:
    """With memory 1, the query's own position, a part still works, streams, and has a state that settles."""
    case = subject.case(T, B, memory=1)
    streams(case)
    settles(case)


@law(*SEQUENCES, applies=has_memory)
def long_memory(subject: Subject) -> None:
    """A memory just long enough, or longer than anything seen, works and streams; twice the longer one is no better."""
    streams(subject.case(T, B, memory=T))
    case = subject.case(T, B, memory=LONG)
    streams(case)
    longer = subject.case(T, B, memory=2 * LONG)
    for cut in ([T], [T // 2, T - T // 2]):
        y = case.run_cut(case.inputs(), case.start(), cut)[0]
        want = longer.run_cut(longer.inputs(), longer.start(), cut)[0]
        case.agree(y, want, f"over {T} positions a memory of {LONG} gives another y than one of {2 * LONG}")


@law("attention", applies=has_memory)
def window(subject: Subject) -> None:
    """The position memory - 1 back can still influence a query, the one memory back cannot; whatever the cut."""
    for memory in (1, 2, 5):
        for cut in ([T], [1] * T, [7, 5]):
            _check_window(subject.case(T, B, memory=memory), memory, cut)


def _check_window(case: Case, memory: int, cut: list[int]) -> None:
    queries, source = case.inputs()
    start = case.start()
    want = case.run_cut((queries, source), start, cut)[0]
    for place in (0, 6):
        disturbed = source.clone()
        disturbed[place] = 3 * case.inputs("disturbance")[1][place]
        got = case.run_cut((queries, disturbed), start, cut)[0]
        last = place + memory - 1
        where = f"cut in {cut}, source position {place}"
        case.agree(got[last + 1 :], want[last + 1 :], f"{where} still influences queries {memory} or more positions on")
        if torch.allclose(got[last], want[last], rtol=0, atol=1e-9):
            case.refuse(f"{where} no longer influences the query {memory - 1} positions on, the last that may see it")

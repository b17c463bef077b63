"""Long lists of cases: some of them in `make test`, the others in `make faults` or `make soak`."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import pytest


def sampled(
    cases: Iterable[Any], here: Collection[str], name: Callable[[Any], str] = str, soaked: Collection[str] = ()
) -> list[Any]:
    """The cases, each called by its name: those not in `here` are marked as long, those in `soaked` as soak too."""

    named = {name(case): case for case in cases}
    if unknown := {*here, *soaked} - set(named):  # or what was meant to stay would leave unnoticed
        raise ValueError(f"no case is called {sorted(unknown)[0]!r}; there are {', '.join(map(repr, named))}")

    def marks(called: str) -> list[pytest.MarkDecorator]:
        if called in soaked:
            return [pytest.mark.long, pytest.mark.soak]
        return [] if called in here else [pytest.mark.long]

    return [pytest.param(case, id=called, marks=marks(called)) for called, case in named.items()]


def one_in(count: int, cases: Iterable[Any], name: Callable[[Any], str] = " ".join) -> list[Any]:
    """The cases, each called by its name; all but each `count`-th are marked as long."""
    return [
        pytest.param(case, id=name(case), marks=[pytest.mark.long] if i % count else []) for i, case in enumerate(cases)
    ]

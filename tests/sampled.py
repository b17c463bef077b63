"""Long lists of cases: some of them in `make test`, the others in `make faults` or `make soak`."""

from collections.abc import Callable, Container, Iterable
from typing import Any

import pytest


def sampled(
    cases: Iterable[Any], here: Container[str], name: Callable[[Any], str] = str, soaked: Container[str] = ()
) -> list[Any]:
    """The cases, each called by its name: those not in `here` are marked as long, those in `soaked` as soak too."""

    def marks(called: str) -> list[pytest.MarkDecorator]:
        if called in soaked:
            return [pytest.mark.long, pytest.mark.soak]
        return [] if called in here else [pytest.mark.long]

    return [pytest.param(case, id=name(case), marks=marks(name(case))) for case in cases]


def one_in(count: int, cases: Iterable[Any], name: Callable[[Any], str] = " ".join) -> list[Any]:
    """The cases, each called by its name; all but each `count`-th are marked as long."""
    return [
        pytest.param(case, id=name(case), marks=[pytest.mark.long] if i % count else []) for i, case in enumerate(cases)
    ]

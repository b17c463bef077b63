"""Long lists of cases: some of them in `make test`, the others in `make faults`."""

from collections.abc import Callable, Container, Iterable
from typing import Any

import pytest


def sampled(cases: Iterable[Any], here: Container[str], name: Callable[[Any], str] = str) -> list[Any]:
    """The cases, each called by its name, those that are not named in `here` marked as long."""
    return [pytest.param(case, id=name(case), marks=[] if name(case) in here else [pytest.mark.long]) for case in cases]

"""Every registered part, and every pair of parts in a block's slots, obeys every law; a new part is found unasked."""

import zlib

import pytest

from rnnlab import registry, testing
from rnnlab.testing import Law
from rnnlab.testing.law import PartFactory, part_name

MEETING = ("streaming", "causality", "batch independence", "state", "cost")
"""What parts that obey a law alone could break together: `make test` holds a third of the pairs to each.

`make faults` holds all of them to all.
"""

COMPILED = ("core.LSTM", "attention.SingleHead")
"""What `make faults` compiles; the others, a minute each, are compiled by `make soak`."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a part and law; a law that has nothing to say about a part makes none."""
    parts = [(part.factory, part.kind, part.selector) for part in registry.parts() if part.kind in testing.kinds()]
    if "filled" in metafunc.fixturenames:
        filled = [
            (block, law, part_name(block)) for block in testing.registered_pairs() for law in testing.laws("block")
        ]
        _parametrize(metafunc, "filled", filled)
    elif "part" in metafunc.fixturenames:
        slow = metafunc.function.__name__.endswith("compiled")
        laws = {kind: [law for law in testing.laws(kind, slow=slow) if law.slow == slow] for kind in testing.kinds()}
        _parametrize(metafunc, "part", [(part, law, name) for part, kind, name in parts for law in laws[kind]])


def _parametrize(metafunc: pytest.Metafunc, argument: str, cases: list[tuple[PartFactory, Law, str]]) -> None:
    cases = [(part, law, name) for part, law, name in cases if law.applies_to(part)]
    values = [
        pytest.param(part, law, id=f"{name}-{law.name}", marks=_marks(argument, law, name)) for part, law, name in cases
    ]
    metafunc.parametrize((argument, "law"), values)


def _marks(argument: str, law: Law, name: str) -> list[pytest.MarkDecorator]:
    if law.slow:
        return [pytest.mark.long] if name in COMPILED else [pytest.mark.long, pytest.mark.soak]
    is_here = argument == "part" or (law.name in MEETING and zlib.crc32(f"{name}-{law.name}".encode()) % 3 == 0)
    return [] if is_here else [pytest.mark.long]


def test_a_registered_part_obeys(part: PartFactory, law: Law) -> None:
    law(part)


def test_a_registered_part_obeys_compiled(part: PartFactory, law: Law) -> None:
    law(part)


@pytest.mark.slow
def test_a_block_filled_with_registered_parts_obeys(filled: PartFactory, law: Law) -> None:
    law(filled)


def test_the_filled_blocks_hold_every_pair_of_parts() -> None:
    names = [part_name(block) for block in testing.registered_pairs()]
    slots = [name.replace("(", ", ").rstrip(")").split(", ") for name in names]
    for i, first in enumerate(("block", "core", "attention", "feedforward")):
        for j, second in enumerate(("core", "attention", "feedforward"), start=1):
            if i < j:
                pairs = {(a.name, b.name) for a in registry.parts(first) for b in registry.parts(second)}
                assert pairs <= {(filled[i], filled[j]) for filled in slots}

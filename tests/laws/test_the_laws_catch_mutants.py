"""The laws are themselves put to the test: each catches the parts that were broken against it.

`pytest -s tests/laws/test_the_laws_catch_mutants.py` prints a table of the mutants and what caught them.
"""

import pytest

from rnnlab import testing
from rnnlab.errors import LawError
from rnnlab.testing import Law
from tests.laws.mutants import MUTANTS, Mutant

KINDS = testing.kinds()
SLOW = {law.name for kind in KINDS for law in testing.laws(kind, slow=True) if law.slow}
HONEST = {mutant.honest: mutant.kind for mutant in MUTANTS}


def law_of(mutant: Mutant) -> Law:
    (found,) = [law for law in testing.laws(mutant.kind, slow=True) if law.name == mutant.law]
    return found


def marked(mutant: Mutant) -> object:
    return (
        pytest.param(mutant, marks=[pytest.mark.slow, pytest.mark.long, pytest.mark.faults])
        if mutant.law in SLOW
        else mutant
    )


@pytest.mark.parametrize("mutant", [marked(mutant) for mutant in MUTANTS])
def test_a_mutant_is_caught_by_its_law_alone(mutant: Mutant) -> None:
    case = "seed=0" if mutant.kind in ("task", "evaluation") else "dim=16.*seed=0"
    with pytest.raises(LawError, match=f"{mutant.__name__}.* breaks '{mutant.law}'.*{case}"):
        law_of(mutant)(mutant.part)


@pytest.mark.parametrize("part", HONEST)
@pytest.mark.slow
def test_the_part_a_mutant_was_made_from_obeys(part: type) -> None:
    outcomes = testing.check(part, HONEST[part])
    assert [outcome.message for outcome in outcomes if not outcome.passed] == []


@pytest.mark.long
@pytest.mark.faults
def test_the_part_a_mutant_was_made_from_obeys_when_compiled() -> None:
    for part, kind in HONEST.items():
        for law in testing.laws(kind, slow=True):
            if law.slow:
                law(part)


def test_every_law_catches_a_mutant() -> None:
    laws = {law.name for kind in KINDS for law in testing.laws(kind, slow=True)}
    assert {mutant.law for mutant in MUTANTS} == laws


@pytest.mark.long
@pytest.mark.faults
def test_each_mutant_has_a_law_that_caught_it_and_others_that_did_too() -> None:
    print()
    for mutant in MUTANTS:
        if mutant.law in SLOW:
            continue
        broken = [outcome.law for outcome in testing.check(mutant.part, mutant.kind) if not outcome.passed]
        assert mutant.law in broken
        others = ", ".join(name for name in broken if name != mutant.law) or "-"
        print(f"{mutant.__name__:28} caught by {mutant.law:28} also by {others}")

"""How far an ablation has come, from its folder alone: the tuning first, then one look after another."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnlab.studies.ablation import seen as history
from rnnlab.studies.ablation.known import KnownCells
from rnnlab.studies.ablation.looks import Look, planned
from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.seen import LookHistory
from rnnlab.studies.ablation.sequential import Stop, Widest, why_it_ends, widest_at


@dataclass(frozen=True)
class LookStage:
    """Where a study with `until` is.

    Attributes:
        looks: all that are planned.
        number: of the look that is trained for, or of the last one; the first is 1.
        seen: what the folder knows of the looks.
        widest: the widest interval of what there is, held to this look; None if there is none.
        why: why it was the last; empty as long as the study goes on.
    """

    looks: Sequence[Look]
    number: int
    seen: LookHistory
    widest: Widest | None
    why: str

    @property
    def look(self) -> Look:
        return self.looks[self.number - 1]

    @property
    def most_seeds(self) -> int:
        """How many the study may still come to."""
        return self.look.seeds if self.why else self.looks[-1].seeds

    def stop(self) -> Stop | None:
        """As the report of the study has it; None as long as the study goes on."""
        return Stop(self.look, self.seen, self.why) if self.why else None


@dataclass(frozen=True)
class Stage:
    """Where an ablation is.

    Attributes:
        plan: with the settings that tuning chose, if it has, and with the seeds of the look.
        known: which of its cells are done.
        is_tuned: whether settings are chosen, or there are none to choose.
        look: of a study with `until`.
    """

    plan: AblationPlan
    known: KnownCells
    is_tuned: bool
    look: LookStage | None = None


def stage_of(plan: AblationPlan, others: Sequence[Path] = ()) -> Stage:
    """Nothing is written. Args and raises: as `rnnlab.studies.ablation.known.known_cells`."""
    tuned = plan.tuned(others)
    at = tuned or plan
    if at.ablation.until is None:
        return Stage(at, at.known(others), tuned is not None)
    seen = history.read(at)
    looks = seen.plan or planned(at.ablation.first_look, at.ablation.most_seeds)
    last = max((i for i, look in enumerate(looks, 1) if look.seeds in seen.planned), default=0)
    found = _at_look(at, tuned is not None, looks, last or 1, seen, others)
    assert found.look is not None
    if last and not found.look.why and all(map(found.known.is_done, found.plan.cells())):
        return _at_look(at, tuned is not None, looks, last + 1, seen, others)
    return found


def _at_look(
    plan: AblationPlan, is_tuned: bool, looks: Sequence[Look], number: int, seen: LookHistory, others: Sequence[Path]
) -> Stage:
    look = looks[number - 1]
    at = plan.with_seeds(look.seeds)
    known = at.known(others)
    widest = widest_at(at, look, known)
    is_taken = look.seeds in seen.planned and all(map(known.is_done, at.cells()))
    why = why_it_ends(at, look, looks[-1], widest) if is_taken else ""
    return Stage(at, known, is_tuned, LookStage(looks, number, seen, widest, why))

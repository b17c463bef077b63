"""A study with `until`: trained look by look, until the widest interval is as narrow as it was asked for."""

from collections.abc import Callable
from dataclasses import dataclass

from rnnlab.console import say
from rnnlab.studies.ablation import seen as history
from rnnlab.studies.ablation.known import KnownCells
from rnnlab.studies.ablation.looks import ALPHA, Look, at_look, widest
from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.seen import LookHistory
from rnnlab.studies.ablation.statistics import analyze
from rnnlab.studies.metric import score


@dataclass(frozen=True)
class Stop:
    """Where and why a study with `until` ended.

    Attributes:
        look: the last that was taken.
        seen: all looks, this one among them.
        why: for the table.
    """

    look: Look
    seen: LookHistory
    why: str

    def notes(self) -> list[str]:
        """What a reader of the table must know."""
        taken, looks = self.seen.planned, self.seen.plan
        spent = sum(look.level for look in looks if look.seeds in taken)
        notes = [
            f"Looks at {_listed(taken)} seeds, of those planned at {_listed([look.seeds for look in looks])}; stopped "
            f"because {self.why}.",
            f"This look may spend {self.look.level:.4f} of {ALPHA} (all so far {spent:.4f}): ± of Δ is the "
            f"{100 * (1 - self.look.level):.2f}% interval, so that 95% hold over all looks. p and p (flip) "
            f"are of this look alone; p (Holm) and p (flip, Holm) are also corrected for the looks, times "
            f"{ALPHA / self.look.level:.1f}: compare these with {ALPHA}.",
        ]
        if len(self.seen.until) > 1:
            notes.append(f"Asked for ±{' first, then ±'.join(f'{half:g}' for half in self.seen.until)}.")
        return notes


def run_until(plan: AblationPlan, train: Callable[[AblationPlan], bool]) -> tuple[AblationPlan, Stop]:
    """Train the seeds of one look after another.

    Args:
        train: trains the cells of a plan that are not finished; whether all of them are now.
    Returns: (the plan with the seeds of the last look, why it was the last).
    Raises: what `train` raises; ConfigError if other looks were planned in this folder before; StorageError.
    """
    assert plan.ablation.until is not None
    seen = history.open_plan(plan)
    furthest = max(seen.planned, default=0)
    for look in (one for one in seen.plan if one.seeds >= furthest):  # never back to fewer seeds than were seen
        at = plan.with_seeds(look.seeds)
        complete = train(at)
        seen = seen.with_look(look.seeds, is_planned=True)
        history.write(plan, seen)
        found = widest_at(at, look, at.known())
        if complete and found is not None:
            say(f"{look.seeds} seeds: {_shown(at, found)}; asked for {plan.ablation.until:g}")
        why = why_it_ends(at, look, seen.plan[-1], found) if complete else "cells failed"
        if why:
            break
    return at, Stop(look, seen, why)


Widest = tuple[str, float]
"""(variant, half-width of the interval of its difference)."""


def why_it_ends(plan: AblationPlan, look: Look, last: Look, found: Widest | None) -> str:
    """Why no seeds are added after a look whose cells are done; empty if they are.

    Args:
        last: of the looks that were planned.
        found: as `widest_at` has it.
    """
    until = plan.ablation.until
    assert until is not None
    if found is None:
        return "no variant has an interval, and seeds do not give it one"
    if found[1] <= until:
        return f"{_shown(plan, found)}, and {until:g} was asked for"
    more = f"there may be no more than {last.seeds} seeds; {_shown(plan, found)}, not {until:g}"
    return more if look == last else ""


def widest_at(plan: AblationPlan, look: Look, known: KnownCells) -> Widest | None:
    """The widest interval of a difference in all tables of the study, held to a look; None if there is none."""
    found = []
    for variants in filter(None, (plan.variants, plan.matched)):
        results = {variant.name: known.results(plan.cells_of(variant)) for variant in variants}
        scores = {
            name: {seed: score(result, plan.metric.key) for seed, result in by_seed.items()}
            for name, by_seed in results.items()
            if by_seed
        }
        if variants[0].name in scores:
            found.append(widest(at_look(analyze(scores, variants[0].name), look.level)))
    return max((one for one in found if one is not None), key=lambda one: one[1], default=None)


def _shown(plan: AblationPlan, found: Widest) -> str:
    return f"the widest ± of Δ, of {found[0]}, is {found[1]:.2g} {plan.metric.unit}"


def _listed(counts: tuple[int, ...] | list[int]) -> str:
    return ", ".join(map(str, counts))

"""A study with `until`: trained look by look, until the widest interval is as narrow as it was asked for."""

from collections.abc import Callable
from dataclasses import dataclass

from rnnlab.console import say
from rnnlab.studies.ablation import seen as history
from rnnlab.studies.ablation.known import known_cells
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
            f"{100 * (1 - self.look.level):.2f}% interval, so that 95% hold over all looks. p is of this look alone; "
            f"p (Holm) is also corrected for the looks, times {ALPHA / self.look.level:.1f}: compare it with {ALPHA}.",
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
        why = _why_it_ends(at, look, seen.plan[-1]) if complete else "cells failed"
        if why:
            break
    return at, Stop(look, seen, why)


def _why_it_ends(plan: AblationPlan, look: Look, last: Look) -> str:
    """Why no seeds are added after this look; empty if they are."""
    until, unit = plan.ablation.until, plan.metric.unit
    assert until is not None
    found = _widest(plan, look)
    if found is None:
        return "no variant has an interval, and seeds do not give it one"
    name, half = found
    shown = f"the widest ± of Δ, of {name}, is {half:.2g} {unit}"
    say(f"{look.seeds} seeds: {shown}; asked for {until:g}")
    if half <= until:
        return f"{shown}, and {until:g} was asked for"
    return f"there may be no more than {last.seeds} seeds; {shown}, not {until:g}" if look == last else ""


def _widest(plan: AblationPlan, look: Look) -> tuple[str, float] | None:
    """Of all tables of the study."""
    found, known = [], known_cells(plan)
    for variants in filter(None, (plan.variants, plan.matched)):
        scores = {
            variant.name: {
                seed: score(result, plan.metric.key) for seed, result in known.results(plan, variant).items()
            }
            for variant in variants
        }
        found.append(widest(at_look(analyze(scores, variants[0].name), look.level)))
    return max((one for one in found if one is not None), key=lambda one: one[1], default=None)


def _listed(counts: tuple[int, ...] | list[int]) -> str:
    return ", ".join(map(str, counts))

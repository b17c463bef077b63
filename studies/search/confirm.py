"""The second stage of a search: its candidates over fresh seeds, against the base or the best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from rnnlab.studies.ablation.statistics import analyze
from rnnlab.studies.ablation.table import TrainedVariant, ablation_table, write_report
from rnnlab.studies.launch.run import finished
from rnnlab.studies.search.database import Ledger, opened, retry_history
from rnnlab.studies.search.plan import CONFIRM, SearchPlan
from rnnlab.views import numerals
from rnnlab.views.intervals import Interval
from rnnlab.views.tables import Table


def finished_candidates(plan: SearchPlan) -> list[FrozenTrial]:
    """The trials of the second stage that finished, with all their seeds or pruned."""
    with opened(plan.address):
        if plan.confirmation.name not in optuna.get_all_study_names(plan.confirmation.storage()):
            return []
        return [t for t in Ledger(plan.confirmation).finished() if t.intermediate_values]


def confirm(
    plan: SearchPlan, trials: Sequence[FrozenTrial], candidates: Sequence[FrozenTrial]
) -> tuple[dict[str, Any], Table, list[Path]]:
    """(what the best candidate reached, the table of candidates, what was written)."""
    variants = [_variant(plan, trials, candidate) for candidate in candidates]
    reference = next((v for v in variants if not v.bindings), variants[0])
    ordered = [reference, *(v for v in variants if v is not reference)]
    base = "the base" if not reference.bindings else "the best of the search"
    title = f"Candidates over fresh seeds, against {reference.name}, {base}: valid BPC"
    written = write_report(ordered, reference.name, plan.folder, stem=CONFIRM, title=title)
    statistics = analyze({v.name: v.bpc("valid_bpc") for v in ordered}, reference.name)
    whole = [c for c in candidates if c.state is TrialState.COMPLETE] or list(candidates)
    best = min(whole, key=lambda c: math.fsum(c.intermediate_values.values()) / len(c.intermediate_values))
    found = statistics[_variant(plan, trials, best).name]
    confirmed = {
        "trial": best.user_attrs["candidate"],
        "seeds": len(found.seeds),
        "valid_bpc": _interval(found.bpc),
        "difference_to": reference.name,
        "difference": _interval(found.difference.interval) if found.difference else None,
        "p": found.difference.p if found.difference else None,
        "p_holm": found.difference.p_holm if found.difference else None,
    }
    return confirmed, ablation_table(ordered, reference.name, title=title), written


def _variant(plan: SearchPlan, trials: Sequence[FrozenTrial], candidate: FrozenTrial) -> TrainedVariant:
    number = candidate.user_attrs["candidate"]
    folders = [plan.folder / CONFIRM / f"trial-{n:04d}" for n in (candidate.number, *retry_history(candidate)[::-1])]
    results: dict[int, Mapping[str, Any]] = {}
    for seed, bpc in sorted(candidate.intermediate_values.items()):
        here = next((r for folder in folders if (r := finished(folder / f"seed-{seed}"))), {})  # or on another machine
        results[seed] = {**here, "valid_bpc": bpc}
    baseline = trials[number].user_attrs.get("baseline")
    return TrainedVariant(f"trial {number}", results, () if baseline else tuple(candidate.user_attrs["bindings"]))


def _interval(interval: Interval | None) -> dict[str, float | int | None] | None:
    return None if interval is None else asdict(interval)


def plus_minus(interval: Mapping[str, Any] | None) -> str:
    return "not finite" if interval is None else numerals.plus_minus(4)(Interval(**interval))

"""The second stage of a search: the best trials, trained again over fresh seeds."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from rnnlab.studies.ablation.table import TrainedVariant, write_table_and_plot
from rnnlab.studies.launch.run import finished
from rnnlab.studies.metric import rank
from rnnlab.studies.search.database import SharedStudy, retry_history
from rnnlab.studies.search.plan import CONFIRM, SearchPlan
from rnnlab.views import numerals
from rnnlab.views.intervals import Interval
from rnnlab.views.tables import Table, to_json


def enqueue_candidates(plan: SearchPlan) -> int:
    """Queue for the second stage the best trials of the first and the baseline; how many there are in all.

    The best comes first, so that the others can be pruned against it.
    """
    with plan.address.locked():
        complete = SharedStudy(plan.address).trials(TrialState.COMPLETE)
        best = sorted(complete, key=lambda trial: rank(plan.metric, trial.value or 0.0))[: plan.search.confirm]
        if not best:
            return 0
        chosen = {trial.number: trial for trial in [*best, *(t for t in complete if t.user_attrs.get("baseline"))]}
        if not plan.confirmation.exists():
            plan.confirmation.create(plan.direction)
        second = SharedStudy(plan.confirmation)
        known = {trial.user_attrs["candidate"] for trial in second.trials()}
        for trial in chosen.values():
            if trial.number not in known:
                attributes = {"candidate": trial.number, "bindings": trial.user_attrs["bindings"]}
                second.optuna.enqueue_trial({"candidate": trial.number}, user_attrs=attributes)
        return len(known | set(chosen))


def candidate_folders(parent: Path, candidate: FrozenTrial) -> list[Path]:
    """The folder of a candidate below `parent`, named after its trial of the first stage, with the number of the retry;
    then those of the tries before it, the newest first."""
    name = f"trial-{candidate.user_attrs['candidate']:04d}"
    retries = range(len(retry_history(candidate)), 0, -1)
    return [*(parent / f"{name}-retry-{i}" for i in retries), parent / name]


def finished_candidates(plan: SearchPlan) -> list[FrozenTrial]:
    """The trials of the second stage that finished, with all their seeds or pruned."""
    with plan.address.locked():
        if not plan.confirmation.exists():
            return []
        return [t for t in SharedStudy(plan.confirmation).finished() if t.intermediate_values]


def write_confirmation(
    plan: SearchPlan, trials: Sequence[FrozenTrial], candidates: Sequence[FrozenTrial]
) -> tuple[dict[str, Any], Table, list[Path]]:
    """(what the best candidate reached, the table of candidates, what was written)."""
    variants = [_variant(plan, trials, candidate) for candidate in candidates]
    reference = next((v for v in variants if not v.bindings), variants[0])
    ordered = [reference, *(v for v in variants if v is not reference)]
    base = "the base" if not reference.bindings else "the best of the search"
    key = plan.metric.key
    title = f"Candidates over fresh seeds, against {reference.name}, {base}: {plan.metric.title}"
    table, written = write_table_and_plot(ordered, reference.name, plan.folder, key, CONFIRM, title)
    whole = [c for c in candidates if c.state is TrialState.COMPLETE] or list(candidates)
    best = min(whole, key=lambda c: rank(plan.metric, _mean(c)))
    number = best.user_attrs["candidate"]
    row = next(row for row in json.loads(to_json(table))["rows"] if row["variant"] == f"trial {number}")
    confirmed = {
        "trial": number,
        "seeds": row["seeds"],
        key: row[key],
        "difference_to": reference.name,
        "difference": row["difference"],
        "p": row["p"],
        "p_holm": row["p_holm"],
    }
    return confirmed, table, written


def _mean(candidate: FrozenTrial) -> float:
    return math.fsum(candidate.intermediate_values.values()) / len(candidate.intermediate_values)


def _variant(plan: SearchPlan, trials: Sequence[FrozenTrial], candidate: FrozenTrial) -> TrainedVariant:
    number = candidate.user_attrs["candidate"]
    folders = candidate_folders(plan.folder / CONFIRM, candidate)
    results: dict[int, Mapping[str, Any]] = {}
    for seed, reached in sorted(candidate.intermediate_values.items()):
        here = next((r for folder in folders if (r := finished(folder / f"seed-{seed}"))), {})  # or on another machine
        results[seed] = {**here, plan.metric.key: reached}
    baseline = trials[number].user_attrs.get("baseline")
    return TrainedVariant(f"trial {number}", results, () if baseline else tuple(candidate.user_attrs["bindings"]))


def plus_minus(interval: Mapping[str, Any] | None) -> str:
    """An interval of the facts, in words."""
    return "not finite" if interval is None else numerals.plus_minus(4)(Interval(**interval))

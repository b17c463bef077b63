"""The second stage of a search: the best trials, trained again over fresh seeds."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from rnnlab.studies.ablation.table import TrainedVariant, ablation_table, cost_plot
from rnnlab.studies.launch.run import finished
from rnnlab.studies.metric import rank
from rnnlab.studies.search.database import FINISHED, SharedStudy, retry_history
from rnnlab.studies.search.plan import CONFIRM, SearchPlan
from rnnlab.studies.search.seeds import SPARED
from rnnlab.views import numerals, plots, tables
from rnnlab.views.intervals import Interval
from rnnlab.views.metrics import Metric
from rnnlab.views.tables import Table, to_json


def enqueue_candidates(plan: SearchPlan) -> int:
    """Queue the candidates for the second stage; how many there are in all."""
    with plan.address.locked():
        chosen = choose_candidates(SharedStudy(plan.address).finished(), plan.metric, plan.search.confirm)
        if not chosen:
            return 0
        if not plan.confirmation.exists():
            plan.confirmation.create(plan.direction)
        return queue(SharedStudy(plan.confirmation).optuna, chosen)


def choose_candidates(finished: Sequence[FrozenTrial], metric: Metric, count: int) -> list[FrozenTrial]:
    """The best of the complete trials, the best first, so that the others can be pruned against it; then the baseline.

    A winner is compared with the baseline. One that diverged on the seed of the search may do well on others.
    """
    complete = [trial for trial in finished if trial.state is TrialState.COMPLETE]
    best = sorted(complete, key=lambda trial: rank(metric, trial.value or 0.0))[:count]
    baseline = [t for t in finished if t.user_attrs.get("baseline") and not _is_refused(t)] if best else []
    return list({trial.number: trial for trial in [*best, *baseline]}.values())


def queue(second: optuna.Study, chosen: Sequence[FrozenTrial]) -> int:
    """Queue those that are not known to the second stage; how many it has then.

    One is spared by the pruner: the baseline or, without one, the best.
    """
    known = second.get_trials(deepcopy=False)
    numbers = _numbers(known)
    has_one = any(trial.user_attrs.get(SPARED) for trial in known)
    spared = next((t for t in chosen if t.user_attrs.get("baseline")), None if has_one else chosen[0])
    for trial in chosen:
        if trial.number not in numbers:
            attributes = {"candidate": trial.number, "bindings": trial.user_attrs["bindings"], SPARED: trial is spared}
            second.enqueue_trial({"candidate": trial.number}, user_attrs=attributes)
    return len(numbers | {trial.number for trial in chosen})


def _numbers(candidates: Sequence[FrozenTrial]) -> set[int]:
    """Their trials of the first stage. What stands in for a candidate that was given up has none."""
    return {one.user_attrs["candidate"] for one in candidates if "candidate" in one.user_attrs}


def _is_refused(trial: FrozenTrial) -> bool:
    """Whether nothing could be built from it, on the seed of the search or any other."""
    return str(trial.user_attrs.get("outcome", "")).startswith("refused")


def candidate_folders(parent: Path, candidate: FrozenTrial) -> list[Path]:
    """The folder of a candidate below `parent`, named after its trial of the first stage, with the number of the retry;
    then those of the tries before it, the newest first."""
    name = f"trial-{candidate.user_attrs['candidate']:04d}"
    retries = range(len(retry_history(candidate)), 0, -1)
    return [*(parent / f"{name}-retry-{i}" for i in retries), parent / name]


def finished_candidates(plan: SearchPlan) -> tuple[list[FrozenTrial], list[int]]:
    """Of the second stage: (its trials that finished, with all their seeds or pruned; the numbers, as trials of the
    first, of candidates that were given up, as one worker after the other had died of them)."""
    with plan.address.locked():
        if not plan.confirmation.exists():
            return [], []
        second = SharedStudy(plan.confirmation)
        going_on = second.trials(*FINISHED, TrialState.RUNNING, TrialState.WAITING)
        given_up = _numbers(second.trials(TrialState.FAIL)) - _numbers(going_on)
        return [t for t in second.finished() if t.intermediate_values], sorted(given_up)


@dataclass(frozen=True)
class Confirmation:
    """What the second stage says.

    Attributes:
        confirmed: the best candidate with its mean, its difference to the reference and the p-values, for programs.
        table: of all candidates.
        variants: those in the table, the reference first.
    """

    confirmed: dict[str, Any]
    table: Table
    variants: Sequence[TrainedVariant]


Results = Callable[[FrozenTrial, int], Mapping[str, Any]]


def conclude(
    metric: Metric, trials: Sequence[FrozenTrial], candidates: Sequence[FrozenTrial], results: Results
) -> Confirmation:
    """Compare candidates that finished over the seeds that they share.

    Args:
        trials: of the first stage, by number.
        candidates: of the second, with all their seeds or pruned.
        results: result.json of a candidate with a seed; empty where another machine has it.
    """
    variants = {candidate.number: _variant(metric, trials, candidate, results) for candidate in candidates}
    spared = [variants[c.number] for c in candidates if c.user_attrs.get(SPARED)]
    reference = next((v for v in variants.values() if not v.bindings), (spared or list(variants.values()))[0])
    ordered = [reference, *(v for v in variants.values() if v is not reference)]
    base = "the base" if not reference.bindings else "the best of the search"
    title = f"Candidates over fresh seeds, against {reference.name}, {base}: {metric.title}"
    table = ablation_table(ordered, reference.name, metric.key, title)
    dropped = [variants[c.number].name for c in candidates if c.state is TrialState.PRUNED and _is_finite(c)]
    if dropped:
        told = f"{', '.join(dropped)}: dropped early for falling behind, so what is shown leans to the worse."
        table = replace(table, notes=[*table.notes, told])
    whole = [c for c in candidates if c.state is TrialState.COMPLETE] or list(candidates)
    best = min(whole, key=lambda c: rank(metric, _mean(c)))
    row = next(row for row in json.loads(to_json(table))["rows"] if row["variant"] == variants[best.number].name)
    compared = {key: row[key] for key in ("difference", "p", "p_holm", "p_flip")}
    confirmed = {"trial": best.user_attrs["candidate"], "seeds": row["seeds"], metric.key: row[metric.key],
                 "difference_to": reference.name, **compared}  # fmt: skip
    return Confirmation(confirmed, table, ordered)


def write_confirmation(
    plan: SearchPlan, trials: Sequence[FrozenTrial], candidates: Sequence[FrozenTrial]
) -> tuple[dict[str, Any], Table, list[Path]]:
    """(what the best candidate reached, the table of candidates, what was written)."""

    def results(candidate: FrozenTrial, seed: int) -> Mapping[str, Any]:
        folders = candidate_folders(plan.folder / CONFIRM, candidate)
        return next((result for folder in folders if (result := finished(folder / f"seed-{seed}"))), {})

    found = conclude(plan.metric, trials, candidates, results)
    reference = found.variants[0].name
    picture = plots.drawn(lambda: cost_plot(found.variants, reference, plan.metric.key), plan.folder, CONFIRM)
    return found.confirmed, found.table, tables.write(found.table, plan.folder, CONFIRM) + picture


def _mean(candidate: FrozenTrial) -> float:
    return math.fsum(candidate.intermediate_values.values()) / len(candidate.intermediate_values)


def _is_finite(candidate: FrozenTrial) -> bool:
    return all(map(math.isfinite, candidate.intermediate_values.values()))


def _variant(metric: Metric, trials: Sequence[FrozenTrial], candidate: FrozenTrial, results: Results) -> TrainedVariant:
    number = candidate.user_attrs["candidate"]
    reached = sorted(candidate.intermediate_values.items())
    by_seed = {seed: {**results(candidate, seed), metric.key: value} for seed, value in reached}
    baseline = trials[number].user_attrs.get("baseline")
    return TrainedVariant(f"trial {number}", by_seed, () if baseline else tuple(candidate.user_attrs["bindings"]))


def plus_minus(interval: Mapping[str, Any] | None, signed: bool = False) -> str:
    """An interval of the facts, in words."""
    return "not finite" if interval is None else numerals.plus_minus(4, signed)(Interval(**interval))

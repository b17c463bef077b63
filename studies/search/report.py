"""What `rnnlab search` writes and prints: the best configuration, the trials, their importance, and the pictures."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from rnnlab.config import diff
from rnnlab.storage.durable import storage_errors, write_file
from rnnlab.studies.jobs import StudyJobs
from rnnlab.studies.metric import counted_in, rank, superlative
from rnnlab.studies.search import pictures
from rnnlab.studies.search.confirm import finished_candidates, plus_minus, write_confirmation
from rnnlab.studies.search.database import FINISHED, open_study, retry_history
from rnnlab.studies.search.doubts import doubts
from rnnlab.studies.search.importance import importance
from rnnlab.studies.search.pareto import costs_of, pareto_front, pareto_picture, priced, with_costs
from rnnlab.studies.search.plan import TRIALS, SearchPlan
from rnnlab.studies.search.space import literal
from rnnlab.studies.search.tuning import (
    reached_values,
    shown_counts,
    told_counts,
    tuning_curve,
    tuning_picture,
    tuning_table,
)
from rnnlab.views import numerals, plots, tables
from rnnlab.views.metrics import Metric
from rnnlab.views.tables import Column, Table

BEST = "best.gin"
PLOTS = "plots"


def write_report(plan: SearchPlan) -> tuple[dict[str, Any], str]:
    """Write what the study holds, finished or not, into its folder: (facts for programs, text for a terminal).

    Raises: StorageError if the folder cannot be written or the database read.
    """
    with open_study(plan.address) as study:
        trials = study.trials()
        found = importance(study.optuna, plan.space.entries)
        outside = study.optuna.user_attrs.get("baseline_outside", [])
    done = [t for t in trials if t.state in FINISHED]
    complete = [t for t in done if t.state is TrialState.COMPLETE]
    done = with_costs(done, plan.folder / TRIALS)
    warned = doubts(plan, done) if done else []
    written = StudyJobs.of(plan.folder).write() + tables.write(trials_table(plan, done, warned), plan.folder, "trials")
    written += _draw(plan, done, found.shares)
    counts = {"complete": len(complete), "pruned": len(done) - len(complete)}
    facts: dict[str, Any] = {"folder": str(plan.folder), "trials": counts, "importance": found.shares,
                             "no_importance": found.missing, "warnings": warned}  # fmt: skip
    lines = [f"{len(done)} trials: {counts['complete']} complete, {counts['pruned']} pruned"]
    if outside:
        lines.append(f"no baseline among them: the space does not hold the base's {', '.join(outside)}")
    lines += [f"warning: {line}" for line in warned]
    if complete:
        lines += found.lines()
        facts |= _costs_and_curve(plan, done, written)
        key, title, most = plan.metric.key, plan.metric.title, superlative(plan.metric)
        first = min(complete, key=lambda t: (rank(plan.metric, t.value or 0.0), t.number))
        facts["best"] = {"trial": first.number, key: first.value, "params": first.params,
                         "bindings": first.user_attrs["bindings"]}  # fmt: skip
        lines.append(
            f"{most} in the search: trial {first.number}, {title} {first.value:.4f} with seed {plan.seed} "
            f"(the best of {len(complete)} on one seed looks better than it is)"
        )
        winner = first
        candidates, given_up = finished_candidates(plan)
        if given_up:
            numbers = ", ".join(map(str, given_up))
            lines.append(
                f"warning: no candidate any more, as one worker after the other has died of it: trial {numbers}"
            )
        if candidates:
            confirmed, table, files = write_confirmation(plan, trials, candidates)
            written += files
            winner = trials[confirmed["trial"]]
            facts["confirmed"] = confirmed
            lines.append(
                f"{most} over {confirmed['seeds']} fresh seeds: trial {winner.number}, "
                f"{title} {plus_minus(confirmed[key])}{_against(confirmed)}\n\n{tables.to_text(table)}"
            )
        written.append(_write_best(plan, winner, facts))
        lines.append(f"{plan.folder / BEST} trains trial {winner.number}: rnnlab train {plan.folder / BEST}")
    facts["files"] = [str(path) for path in written]
    lines.append(f"trials, plots and study.db: {plan.folder}")
    return facts, "\n".join(lines)


def _against(confirmed: Mapping[str, Any]) -> str:
    """How the winner stands to what it is compared with; empty if it is that itself."""
    if confirmed["difference"] is None:
        return ""
    p = "" if confirmed["p"] is None else f", p {numerals.probability(confirmed['p'])}"
    return f" ({plus_minus(confirmed['difference'], signed=True)} to {confirmed['difference_to']}{p})"


def _costs_and_curve(plan: SearchPlan, done: Sequence[FrozenTrial], written: list[Path]) -> dict[str, Any]:
    """The tuning curve and the fronts of metric against costs, which are written; what they say, for programs."""
    metric, folder = plan.metric, plan.folder / PLOTS
    values, higher = reached_values(done, metric), plan.metric.higher_is_better
    curve = tuning_curve(values, shown_counts(len(values)), higher)
    baseline = next((t.value for t in done if t.user_attrs.get("baseline") and t.state is TrialState.COMPLETE), None)
    written += plots.drawn(partial(tuning_picture, curve, metric, baseline), folder, "tuning_curve")
    table = tuning_table(tuning_curve(values, told_counts(len(values)), higher), metric, len(values))
    written += tables.write(table, plan.folder, "tuning_curve")
    facts = {"tuning_curve": json.loads(tables.to_json(table))["rows"]}
    for name, cost in (("pareto", "macs_per_byte"), ("pareto_state", "state_floats")):
        points = priced(done, cost)
        if len({point.cost for point in points}) > 1:  # else there is nothing to weigh
            written += plots.drawn(partial(pareto_picture, points, metric, cost), folder, name)
        front = pareto_front(points, metric)
        facts[name] = [{"trial": point.number, cost: point.cost, metric.key: point.reached} for point in front]
    return facts


def trials_table(plan: SearchPlan, done: Sequence[FrozenTrial], warned: Sequence[str] = ()) -> Table:
    """A row a finished trial, the best first, pruned ones last; what to doubt beneath."""
    metric = plan.metric
    keys = [
        Column(f"param:{entry.key}", entry.key) if entry.is_categorical
        else Column(f"param:{entry.key}", entry.key, "number", _figures)
        for entry in plan.space.entries
    ]  # fmt: skip
    columns = [
        Column("trial", "Trial", "number"),
        Column("outcome", "Outcome"),
        Column(metric.key, metric.heading, "number", numerals.decimal(4)),
        *keys,
        Column("macs_per_byte", f"MACs/{counted_in(metric)}", "number", numerals.engineering),
        Column("state_floats", "State", "number", numerals.engineering, unit="floats"),
        Column("seconds", "Time", "number", numerals.duration),
        Column("run", "Run"),
    ]
    ordered = sorted(done, key=lambda t: (t.state is TrialState.PRUNED, _rank(t, metric), t.number))
    notes = [f"{metric.heading} with seed {plan.seed}; of a pruned trial the last one reported."]
    for trial in ordered:
        if numbers := ", ".join(map(str, retry_history(trial))):
            notes.append(f"Trial {trial.number} goes on with {numbers}, whose worker stopped.")
    notes += [f"Warning: {line}." for line in warned]
    notes += StudyJobs.of(plan.folder).note()
    return Table(
        f"{len(done)} trials of {plan.address.name}", columns, [_row(trial, metric) for trial in ordered], notes
    )


def _rank(trial: FrozenTrial, metric: Metric) -> float:
    return math.inf if trial.value is None else rank(metric, trial.value)


def _row(trial: FrozenTrial, metric: Metric) -> dict[str, tables.Cell]:
    queued = trial.user_attrs.get("queued")
    name = "baseline, " if trial.user_attrs.get("baseline") else f"{queued}, " if queued else ""
    params = {
        f"param:{key}": literal(given) if isinstance(trial.distributions[key], CategoricalDistribution) else given
        for key, given in trial.params.items()
    }
    return {
        "trial": trial.number,
        "outcome": name + str(trial.user_attrs.get("outcome", trial.state.name.lower())),
        metric.key: trial.value if trial.value is not None and math.isfinite(trial.value) else None,
        **params,
        **costs_of(trial.user_attrs),
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        "run": f"{TRIALS}/trial-{trial.number:04d}",
    }


def _figures(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _draw(plan: SearchPlan, trials: Sequence[FrozenTrial], shares: Mapping[str, float]) -> list[Path]:
    entries, metric = plan.space.entries, plan.metric
    figures = {
        "history": partial(pictures.history, trials, metric),
        "slice": partial(pictures.slices, trials, metric, entries),
        "intermediate": partial(pictures.intermediate, trials, metric),
    }
    ordered = [entry for entry in entries if not entry.is_categorical] or entries
    if len(ordered) >= 2:
        figures["contour"] = partial(pictures.contour, trials, metric, *ordered[:2])
    if shares:
        figures["importance"] = partial(pictures.importance, shares)
    return [path for name, draw in figures.items() for path in plots.drawn(draw, plan.folder / PLOTS, name)]


def _write_best(plan: SearchPlan, winner: FrozenTrial, facts: Mapping[str, Any]) -> Path:
    best = plan.base.vary([], winner.user_attrs["bindings"])
    lines = [
        f"# Trial {winner.number} of the search {plan.address.name}, the whole configuration.",
        f"# {plan.metric.heading} {winner.value:.4f} in the search, with seed {plan.seed}.",
    ]
    if confirmed := facts.get("confirmed"):
        lines.append(f"# Over {confirmed['seeds']} fresh seeds: {plus_minus(confirmed[plan.metric.key])}.")
    changed = [f"#     {d.key}: {d.left or '-'} -> {d.right or '-'}" for d in diff(plan.base, best) if not d.is_default]
    lines += ["# It differs from the base in:", *changed] if changed else ["# It is the base."]
    path = plan.folder / BEST
    with storage_errors(f"{path}: cannot be written"):
        write_file(path, ("\n".join(lines) + f"\n\n{best.text}").encode())
    return path

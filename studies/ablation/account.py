"""How an ablation stands: its tuning, its look, its cells, and the table of what there is. Nothing is written."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnnlab.studies.ablation.caveats import tuning_notes
from rnnlab.studies.ablation.cells import Cell
from rnnlab.studies.ablation.failures import failures
from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.report import reported_variants, tables_of
from rnnlab.studies.ablation.size_report import size_ladder
from rnnlab.studies.ablation.stage import LookStage, Stage, stage_of
from rnnlab.studies.ablation.table import ablation_table
from rnnlab.studies.ablation.tuning_table import tuning_table
from rnnlab.studies.account import STATES, StudyAccount, count_states, seconds_left
from rnnlab.studies.jobs import StudyJobs
from rnnlab.studies.standing import Standing, standing
from rnnlab.views.tables import Table


def account_of_ablation(plan: AblationPlan) -> StudyAccount:
    """Args: plan: as `rnnlab.studies.ablation.reopen.reopen_ablation` gives it. Raises: StorageError."""
    stage, failed, jobs = stage_of(plan), failures(plan.folder), StudyJobs.of(plan.folder).asked()
    cells, look = stage.plan.cells(), stage.look
    told = stage.known.told if stage.is_tuned else {}
    here = {
        f"{c.variant.name}, seed {c.seed}":
            _standing(c, failed, jobs) if stage.is_tuned else Standing(c.folder, "waiting")
        for c in cells if c.key not in told
    }  # fmt: skip
    every, of_tuning = stage.plan.tuning_cells(), stage.plan.known_tuning().told
    tuning = {f"{c.name}, seed {c.seed}": _standing(c, failed, jobs) for c in every if c.key not in of_tuning}
    runs = {**tuning, **here}
    counts, tuned = count_states([*here.values()]), count_states([*tuning.values()])
    counts["done"] += len(cells) - len(here)
    tuned["done"] += len(of_tuning)
    waiting = counts["waiting"] + tuned["waiting"]
    further = 0 if look is None else len(stage.plan.with_seeds(look.most_seeds).cells()) - len(cells)
    facts: dict[str, Any] = jobs.facts()
    if every:
        facts |= {"tuning": dict(tuned), "chosen": _chosen(stage)}
    if look is not None:
        facts["look"] = _look_facts(look, stage)
    return StudyAccount(
        folder=plan.folder,
        head=_head(stage),
        noun="cells",
        counts=counts,
        runs=runs,
        seconds_left=seconds_left([*runs.values()], waiting),
        tables=_tables(stage),
        stage=[
            *_tuning_lines(stage, len(every), tuned),
            *([] if look is None else [_look_line(look, stage)]),
            *jobs.lines(),
        ],
        seconds_at_most=seconds_left([*runs.values()], waiting + further) if further else None,
        facts=facts,
    )


def _head(stage: Stage) -> str:
    plan, look = stage.plan, stage.look
    if look is None:
        return f"{plan.folder}: an ablation of {plan.shape()}"
    seeds = f"{look.looks[0].seeds} to {look.looks[-1].seeds} seeds"
    return f"{plan.folder}: an ablation of {len(plan.variants)} variants x {seeds}"


def _standing(cell: Cell, failed: Mapping[Path, str], jobs: StudyJobs) -> Standing:
    """Of a cell, which may have failed before there was a run."""
    one = jobs.told(standing(cell.folder))
    is_noted = cell.folder in failed and one.state in ("waiting", "interrupted", "failed")
    return replace(one, state="failed", said=failed[cell.folder]) if is_noted else one


def _tuning_lines(stage: Stage, cells: int, counts: Counter[str]) -> list[str]:
    if not cells:
        return []
    done = f"tuning: {counts['done']:,} of {cells:,} runs"
    if not stage.is_tuned:
        return [f"{done} done" + "".join(f", {counts[state]:,} {state}" for state in STATES[1:] if counts[state])]
    chosen = "; ".join(f"{name} at {', '.join(setting)}" for name, setting in (_chosen(stage) or {}).items())
    return [f"{done}; chosen: {chosen}"]


def _chosen(stage: Stage) -> dict[str, list[str]] | None:
    """The setting of each variant as bindings; None as long as none is chosen."""
    if not stage.is_tuned:
        return None
    return {one.name: list(one.shown_setting) for one in [*stage.plan.variants, *stage.plan.matched]}


def _look_line(look: LookStage, stage: Stage) -> str:
    until = stage.plan.ablation.until
    name = f"look {look.number} of at most {len(look.looks)}: {look.look.seeds} seeds"
    if look.why:
        return f"{name}, the last, because {look.why}"
    if look.widest is None:
        return f"{name}; no interval yet, wanted ±{until:g}"
    variant, half = look.widest
    return f"{name}; interval now ±{half:.2g} (the widest, of {variant}), wanted ±{until:g}"


def _look_facts(look: LookStage, stage: Stage) -> dict[str, Any]:
    variant, half = look.widest or (None, None)
    return {
        "number": look.number, "seeds": look.look.seeds, "level": look.look.level,
        "looks": [one.seeds for one in look.looks], "taken": list(look.seen.planned),
        "widest": variant, "half_width": half, "until": stage.plan.ablation.until, "ended": look.why,
    }  # fmt: skip


def _tables(stage: Stage) -> dict[str, Table]:
    """Of what there is: of the settings until they are chosen, then of the variants."""
    plan, look = stage.plan, stage.look
    if not stage.is_tuned:
        found = tuning_table(plan)
        return {"tuning": found} if found.rows else {}
    tables: dict[str, Table] = {}
    for stem, title, variants in tables_of(plan):
        shown, notes = reported_variants(plan, variants, stage.known)
        if not shown:
            continue
        caveats = [*tuning_notes(plan, [planned for planned, _ in shown]), *_look_notes(look), *notes]
        level = None if look is None else look.look.level
        told = [told for _, told in shown]
        tables[stem] = ablation_table(told, plan.ablation.baseline, plan.metric.key, title, caveats, level)
    if ladder := size_ladder(plan, stage.known):
        tables["ladder"] = ladder.table()
    return tables


def _look_notes(look: LookStage | None) -> Sequence[str]:
    if look is None:
        return []
    stop = look.stop()
    if stop is not None:
        return stop.notes()
    return [
        f"This look, at {look.look.seeds} seeds, is not complete. ± of Δ, p (Holm) and p (flip, Holm) are held to what "
        f"it may spend, and may be watched; a conclusion waits until the study ends by itself."
    ]

"""`rnnlab status`: how a study or a run stands. Nothing is locked, trained or written."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from rnnlab.errors import ConfigError
from rnnlab.locks import holder
from rnnlab.storage.durable import storage_errors
from rnnlab.storage.runfolder import CONFIG
from rnnlab.studies import definition
from rnnlab.studies.ablation.known import known_cells
from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.reopen import reopen_ablation
from rnnlab.studies.ablation.report import reported_variants, tables_of
from rnnlab.studies.ablation.size_report import size_ladder
from rnnlab.studies.ablation.table import ablation_table
from rnnlab.studies.search.confirm import candidate_folders
from rnnlab.studies.search.database import FINISHED
from rnnlab.studies.search.look import SearchState, look
from rnnlab.studies.search.plan import CONFIRM, TRIALS
from rnnlab.studies.search.report import trials_table
from rnnlab.studies.standing import ENDED, Standing, standing
from rnnlab.views import numerals
from rnnlab.views.tables import Table, to_json, to_text

MOST_SHOWN = 20  # runs that are neither done nor waiting, a line each

Answer = tuple[dict[str, Any], str]
"""(facts for programs, text for a terminal)."""


def status(folder: Path) -> Answer:
    """How the ablation, the search or the run in a folder stands.

    Raises: ConfigError if the folder holds none of them; StorageError if a file of it is missing or damaged.
    """
    if (folder / definition.STUDY).is_file():
        with storage_errors(f"{folder / definition.STUDY}: cannot be read"):
            text = (folder / definition.STUDY).read_text(encoding="utf-8", errors="replace")
        return _of_search(look(folder)) if text.startswith("Search.") else _of_ablation(reopen_ablation(folder))
    if (folder / CONFIG).is_file():
        one = standing(folder)
        return {"run": str(folder), **one.facts()}, f"{folder}: {one.text()}"
    what = "is no study and no run" if folder.is_dir() else "there is no such folder"
    raise ConfigError(
        f"{folder}: {what}; name the folder of an ablation or a search, with a {definition.STUDY} in it, or of a run"
    )


def _of_ablation(plan: AblationPlan) -> Answer:
    known, cells = known_cells(plan), plan.cells()
    elsewhere = sum(cell.key in known.told for cell in cells)
    runs = {f"{c.variant.name}, seed {c.seed}": standing(c.folder) for c in cells if c.key not in known.told}
    counts = Counter[str](one.state for one in runs.values())
    counts["done"] += counts.pop("diverged", 0) + elsewhere
    tables: dict[str, Table] = {}
    for stem, title, variants in tables_of(plan):
        reported, notes = reported_variants(plan, variants, known)
        if reported:
            baseline, key = plan.ablation.baseline, plan.metric.key
            tables[stem] = ablation_table([told for _, told in reported], baseline, key, title, notes)
    if ladder := size_ladder(plan, known):
        tables["ladder"] = ladder.table()
    sizes = f" x {len(plan.sizes)} sizes" if plan.sizes else ""
    variants_at_one = len(plan.variants) // max(1, len(plan.sizes))
    head = f"{plan.folder}: an ablation of {variants_at_one} variants{sizes} x {len(plan.seeds)} seeds"
    left = _seconds_left(list(runs.values()), counts["waiting"])
    return _answer(plan.folder, head, "cells", counts, runs, left, tables)


def _of_search(found: SearchState) -> Answer:
    plan, search = found.plan, found.plan.search
    counts = Counter[str](
        done=len(found.finished), running=found.count(TrialState.RUNNING), failed=found.count(TrialState.FAIL)
    )
    counts["waiting"] = max(0, search.trials - counts["done"] - counts["running"])
    runs = {
        f"trial {trial.number}": standing(plan.folder / TRIALS / f"trial-{trial.number:04d}")
        for trial in found.trials if trial.state is TrialState.RUNNING
    }  # fmt: skip
    for candidate in found.candidates:
        if candidate.state is TrialState.RUNNING:
            last = candidate_folders(plan.folder / CONFIRM, candidate)[0]
            runs |= {f"{last.name}, {path.name}": standing(path) for path in sorted(last.glob("seed-*"))}
    taken = [duration.total_seconds() for trial in found.finished if (duration := trial.duration)]
    running = [one.seconds_left or 0.0 for one in runs.values()]
    left = sum(running) + counts["waiting"] * sum(taken) / len(taken) if taken else None
    tables = {"trials": trials_table(plan, found.finished)} if found.finished else {}
    head = f"{plan.folder}: a search of {search.trials} trials"
    if found.candidates:
        ended = sum(candidate.state in FINISHED for candidate in found.candidates)
        head += f"; of its {len(found.candidates)} candidates with fresh seeds, {ended} are done"
    return _answer(plan.folder, head, "trials", counts, runs, left, tables)


def _seconds_left(runs: Sequence[Standing], waiting: int) -> float | None:
    """Of one run after another: what is begun, at its own pace, and what is not, at that of those that are done."""
    taken = [one.seconds for one in runs if one.state in ENDED and one.seconds]
    begun = [one.seconds_left for one in runs if one.state in ("running", "interrupted")]
    if waiting and not taken:
        return None
    mean = sum(taken) / len(taken) if taken else 0.0
    return sum(mean if one is None else one for one in begun) + waiting * mean


def _answer(
    folder: Path, head: str, noun: str, counts: Counter[str], runs: dict[str, Standing], left: float | None,
    tables: dict[str, Table],
) -> Answer:  # fmt: skip
    counts = Counter({name: counts[name] for name in ("done", "running", "interrupted", "failed", "waiting")})
    at_work, at_a_time = holder(folder), max(1, counts["running"])
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count or name == "done")
    lines = [head, f"{counts.total():,} {noun}: {told}"]
    if at_work:
        lines.append(f"{at_work} is at it")
    left = None if left is None else left / at_a_time
    if left:
        lines.append(f"about {numerals.duration(left)} left, with {at_a_time} at a time")
    unended = {name: one for name, one in runs.items() if one.state not in (*ENDED, "waiting")}
    lines += [f"  {name}: {one.text()}" for name, one in list(unended.items())[:MOST_SHOWN]]
    if len(unended) > MOST_SHOWN:
        lines.append(f"  and {len(unended) - MOST_SHOWN} more")
    if counts.total() > counts["done"] and not at_work and not counts["running"]:
        lines.append("the command that began it goes on with it")
    facts = {
        "folder": str(folder),
        "at_work": at_work,
        noun: dict(counts),
        "seconds_left": left,
        "runs": {name: one.facts() for name, one in unended.items()},
        "tables": {stem: json.loads(to_json(table)) for stem, table in tables.items()},
    }
    return facts, "\n\n".join(["\n".join(lines), *map(to_text, tables.values())])

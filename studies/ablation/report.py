"""What `rnnlab ablate` writes and prints: the tables and plots of the cells that are finished."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rnnlab.studies.ablation.cells import KnownCells, known_cells
from rnnlab.studies.ablation.plan import AblationPlan, Cell, PlannedVariant
from rnnlab.studies.ablation.processors import on_one_processor
from rnnlab.studies.ablation.table import TrainedVariant, write_table_and_plot
from rnnlab.studies.metric import counted_in
from rnnlab.views import plots, tables
from rnnlab.views.difficulties import TaskTest, stems, task_tests
from rnnlab.views.tables import to_json, to_text
from rnnlab.views.task_plots import accuracy_by_difficulty


def write_report(plan: AblationPlan, trained: int, kept: int) -> tuple[dict[str, Any], str]:
    """Write the tables and plots of the cells that are finished: (facts for programs, text for a terminal).

    Args:
        trained: cells that were trained now.
        kept: cells that were finished before.
    """
    facts: dict[str, Any] = {"folder": str(plan.folder), "cells": {"trained": trained, "kept": kept}, "tables": {}}
    texts, files = [], []
    baseline, metric = plan.ablation.baseline, plan.metric.key
    known = known_cells(plan)
    for stem, title, variants in tables_of(plan):
        reported, notes = reported_variants(plan, variants, known)
        if not reported:
            continue
        table, written = write_table_and_plot(reported, baseline, plan.folder, metric, stem, title, notes)
        files += written
        facts["tables"][stem] = json.loads(to_json(table))
        texts.append(to_text(table))
        for name, test in _tests(reported, stem):
            files += [*tables.write(test.table(), plan.folder, name), *_drawn(test, plan, name)]
            facts["tables"][name] = json.loads(to_json(test.table()))
            texts.append(to_text(test.table()))
    facts["files"] = [str(path) for path in files]
    texts.append(f"{trained} cells trained, {kept} kept; tables and plot: {plan.folder}")
    return facts, "\n".join(texts)


def tables_of(plan: AblationPlan) -> Iterator[tuple[str, str, Sequence[PlannedVariant]]]:
    yield "ablation", "", plan.variants
    if plan.matched:
        worst = max(abs(variant.match_error) for variant in plan.matched)
        cost = f"MACs per {counted_in(plan.metric)}" if plan.ablation.match == "macs" else "parameters"
        yield "matched", f"Ablation at equal {cost} (at most {100 * worst:.2f}% apart)", plan.matched


def _tests(variants: Sequence[TrainedVariant], stem: str) -> Iterator[tuple[str, TaskTest]]:
    """(name of its files, what the variants reached) by difficulty, where they are on a task."""
    found = task_tests({variant.name: list(variant.results.values()) for variant in variants})
    for name, test in zip(stems(found), found, strict=True):
        yield name if stem == "ablation" else f"{stem}_{name}", test


def _drawn(test: TaskTest, plan: AblationPlan, name: str) -> list[Path]:
    return plots.drawn(lambda: accuracy_by_difficulty(test), plan.folder, name)


def reported_variants(
    plan: AblationPlan, variants: Sequence[PlannedVariant], known: KnownCells
) -> tuple[list[TrainedVariant], list[str]]:
    """(the variants that have a finished cell, what the cells' processors give to note); none without the baseline."""
    reported = [shown for variant in variants if (shown := _trained(plan, variant, known)).results]
    if not reported or reported[0].name != plan.ablation.baseline:
        return [], []
    return on_one_processor(reported)


def _trained(plan: AblationPlan, variant: PlannedVariant, known: KnownCells) -> TrainedVariant:
    results = {seed: known.result(Cell(plan.folder, variant, seed)) for seed in plan.seeds}
    done = {seed: result for seed, result in results.items() if result is not None}
    return TrainedVariant(variant.name, done, variant.bindings)

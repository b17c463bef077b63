"""What `rnnlab ablate` writes and prints: the tables and plots of the cells that are finished."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from rnnlab.storage import metrics
from rnnlab.storage.runfolder import METRICS
from rnnlab.studies.ablation import floor
from rnnlab.studies.ablation.caveats import look_notes, tuning_notes
from rnnlab.studies.ablation.cells import Cell, PlannedVariant, slug
from rnnlab.studies.ablation.factor_plots import interaction_plot
from rnnlab.studies.ablation.factor_tables import factor_table, interaction_table
from rnnlab.studies.ablation.factors import grid_of
from rnnlab.studies.ablation.floor import is_at
from rnnlab.studies.ablation.forest import forest_plot
from rnnlab.studies.ablation.known import KnownCells
from rnnlab.studies.ablation.looks import at_look
from rnnlab.studies.ablation.over_training import difference_plot, difference_table, differences
from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.processors import on_one_processor
from rnnlab.studies.ablation.sequential import Stop
from rnnlab.studies.ablation.size_report import size_ladder
from rnnlab.studies.ablation.sizes import named
from rnnlab.studies.ablation.table import TrainedVariant, analyze_variants, cost_plot, write_table_and_plot
from rnnlab.studies.jobs import StudyJobs
from rnnlab.studies.metric import counted_in, is_of_tasks
from rnnlab.views import plots, tables
from rnnlab.views.curves import Point, read_curves
from rnnlab.views.difficulties import stems, task_tests
from rnnlab.views.task_plots import accuracy_by_difficulty

Shown = list[tuple[PlannedVariant, TrainedVariant]]


@dataclass
class _Report:
    """What is gathered of one table and all that belongs to it.

    Attributes:
        stem: what its files are called: "ablation", or "matched", which then stands before the names of the others.
    """

    folder: Path
    stem: str
    facts: dict[str, Any] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def named(self, name: str) -> str:
        return name if self.stem == "ablation" else f"{self.stem}_{name}"

    def tell(self, name: str, table: tables.Table, printed: bool = True) -> None:
        """Name the table to programs, and print it."""
        self.facts[name] = json.loads(tables.to_json(table))
        if printed:
            self.texts.append(tables.to_text(table))

    def add(self, name: str, table: tables.Table, printed: bool = True) -> None:
        """Write the table as well."""
        self.files += tables.write(table, self.folder, self.named(name))
        self.tell(self.named(name), table, printed)

    def draw(self, name: str, draw: Callable[[], Figure]) -> None:
        self.files += plots.drawn(draw, self.folder, self.named(name))


def write_report(plan: AblationPlan, trained: int, kept: int, stop: Stop | None = None) -> tuple[dict[str, Any], str]:
    """Write the tables and plots of the cells that are finished: (facts for programs, text for a terminal).

    Args:
        trained: cells that were trained now.
        kept: cells that were finished before.
        stop: where a study with `until` ended.
    """
    facts: dict[str, Any] = {"folder": str(plan.folder), "cells": {"trained": trained, "kept": kept}, "tables": {}}
    texts, files = [], StudyJobs.of(plan.folder).write()
    known = plan.known()
    for stem, title, variants in tables_of(plan):
        shown, notes = reported_variants(plan, variants, known)
        if not shown:
            continue
        report = _Report(plan.folder, stem)
        _add_table(report, plan, shown, title, notes, stop)
        _add_ladder(report, plan, known)
        _add_factors(report, plan, shown, stop)
        _add_over_training(report, plan, shown)
        _add_tests(report, shown)
        facts["tables"] |= report.facts
        texts += report.texts
        files += report.files
    facts["files"] = [str(path) for path in files]
    texts.append(f"{trained} cells trained, {kept} kept; tables and plots: {plan.folder}")
    return facts, "\n".join(texts)


def tables_of(plan: AblationPlan) -> Iterator[tuple[str, str, Sequence[PlannedVariant]]]:
    sizes = f"Ablation against {plan.ablation.baseline} at {len(plan.sizes)} sizes: {plan.metric.title}"
    yield "ablation", sizes if plan.sizes else "", plan.variants
    if plan.matched:
        worst = max(abs(variant.match_error) for variant in plan.matched)
        equal = {"macs": f"MACs per {counted_in(plan.metric)}"}.get(str(plan.ablation.match), plan.ablation.match)
        yield "matched", f"Ablation at equal {equal} (at most {100 * worst:.2f}% apart)", plan.matched


def _add_table(
    report: _Report, plan: AblationPlan, shown: Shown, title: str, notes: Sequence[str], stop: Stop | None
) -> None:
    """The table, the metric against cost, and the forest plot."""
    variants, baseline, metric = [told for _, told in shown], plan.ablation.baseline, plan.metric
    caveats = [*tuning_notes(plan, [planned for planned, _ in shown]), *look_notes(plan, variants, stop), *notes]
    level = stop.look.level if stop else None
    table, written = write_table_and_plot(
        variants, baseline, plan.folder, metric.key, report.stem, title, caveats, level
    )
    report.files += written
    report.tell(report.stem, table)
    if len({variant.mean("state_floats") for variant in variants}) > 1:  # else there is nothing to compare
        report.draw("state", lambda: cost_plot(variants, baseline, metric.key, "state_floats"))
    statistics = analyze_variants(variants, baseline, metric.key)
    if level is not None:
        statistics = at_look(statistics, level)
    if any(one.difference is not None for one in statistics.values()):
        whose = f"{baseline} of the same size" if plan.sizes else baseline
        report.draw("forest", lambda: forest_plot(statistics, whose, metric, frozenset(_at_floor(plan, variants))))


def _add_ladder(report: _Report, plan: AblationPlan, known: KnownCells) -> None:
    """Of several sizes: what the smaller ones said of the largest, and how the effects grow."""
    if ladder := size_ladder(plan, known):
        report.add("ladder", ladder.table())
        report.draw("ladder", ladder.plot)


def _add_factors(report: _Report, plan: AblationPlan, shown: Shown, stop: Stop | None) -> None:
    """Of a grid of which every combination is there: its levels, and what its factors do to each other."""
    if plan.ablation.design != "grid":
        return
    scores = {variant.levels: told.scores(plan.metric.key) for variant, told in shown}
    grid = grid_of(plan.ablation.levels_by_factor(), scores)
    if grid is None:
        return
    level = stop.look.level if stop else None
    at_floor = _at_floor(plan, [told for _, told in shown])
    report.add("factors", factor_table(grid, plan.metric, at_floor, level))
    report.add("interactions", interaction_table(grid, plan.metric, at_floor, level))
    floor_line = floor.level([told.floor(plan.metric) for _, told in shown], plan.metric)
    report.draw("interactions", lambda: interaction_plot(grid, plan.metric, floor_line))


def _at_floor(plan: AblationPlan, variants: Sequence[TrainedVariant]) -> list[str]:
    """Names of those that have learned nothing."""
    statistics = analyze_variants(variants, plan.ablation.baseline, plan.metric.key)
    return [one.name for one in variants if is_at(one.floor(plan.metric), statistics[one.name].mean, plan.metric)]


def _add_over_training(report: _Report, plan: AblationPlan, shown: Shown) -> None:
    """The difference to the baseline at every evaluation, of each size; in files alone, as there are many."""
    for size in dict.fromkeys(planned.size for planned, _ in shown):
        own = [(planned, told) for planned, told in shown if planned.size == size]
        baseline = own[0][0].name
        (_, of_baseline), *others = [(told.name, _curves(plan, variant, told)) for variant, told in own]
        found = {name: points for name, curves in others if (points := differences(of_baseline, curves))}
        if found:
            stem = f"difference_{slug(size)}" if size else "difference"
            report.add(stem, difference_table(found, baseline, plan.metric), printed=False)
            report.draw(stem, partial(difference_plot, found, baseline, plan.metric))


def _add_tests(report: _Report, shown: Shown) -> None:
    """What the variants reached by difficulty, where they are on a task."""
    found = task_tests({told.name: list(told.results.values()) for _, told in shown})
    for name, test in zip(stems(found), found, strict=True):
        report.add(name, test.table())
        report.draw(name, lambda test=test: accuracy_by_difficulty(test))  # type: ignore[misc]


def reported_variants(
    plan: AblationPlan, variants: Sequence[PlannedVariant], known: KnownCells
) -> tuple[Shown, list[str]]:
    """(the variants that have a finished cell, notes on processors and jobs); none without the baseline.

    Of several sizes, those at sizes whose baseline has one.
    """
    begun = [variant for variant in variants if known.results(plan.cells_of(variant))]
    names = {variant.name for variant in begun}
    planned = [variant for variant in begun if named(plan.ablation.baseline, variant.size) in names]
    if not planned:
        return [], []
    told, notes = on_one_processor([_trained(plan, variant, known) for variant in planned])
    return list(zip(planned, told, strict=True)), [*notes, *StudyJobs.of(plan.folder).note()]


def _trained(plan: AblationPlan, variant: PlannedVariant, known: KnownCells) -> TrainedVariant:
    return TrainedVariant(
        variant.name, known.results(plan.cells_of(variant)), variant.bindings, variant.shown_setting, variant.size
    )


def _curves(plan: AblationPlan, variant: PlannedVariant, told: TrainedVariant) -> dict[int, Sequence[Point]]:
    """Validation by seed, from the journals of the runs that are here and did not diverge."""
    journals = {
        seed: Cell(plan.folder, variant, seed).folder / METRICS
        for seed, result in told.results.items()
        if result.get("status") == "done"
    }
    word, of_task = plan.metric.word, is_of_tasks(plan.metric)
    return {
        seed: read_curves(metrics.read(path), of_task)[word].valid for seed, path in journals.items() if path.is_file()
    }

"""The cells of an ablation: trained by the workers of a pool, each once, and folded into the tables."""

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rnnlab import config
from rnnlab.config import diff, format_differences
from rnnlab.errors import RnnlabError, RunHeldError, Stopped
from rnnlab.interrupts import Interrupts
from rnnlab.storage.durable import storage_errors, write_file
from rnnlab.studies import definition
from rnnlab.studies.ablation.plan import AblationPlan, Cell, PlannedVariant
from rnnlab.studies.ablation.table import TrainedVariant, ablation_table, write_report
from rnnlab.studies.conclusion import Conclusion
from rnnlab.studies.launch.pool import ERRORS, Ended, Pool, environments
from rnnlab.studies.launch.run import finished
from rnnlab.training import experiment
from rnnlab.views.tables import to_json, to_text

STUDY = "study.gin"
BASELINE = "baseline.gin"
LOGS = "logs"
LOCK = "lock"

MOST_ATTEMPTS = 3  # at a cell whose worker is killed


def run_ablation(plan: AblationPlan, workers: int | None = None) -> Conclusion:
    """Train the cells that are not finished, and report on all.

    Args:
        workers: processes at a time; see `rnnlab.studies.launch.pool.environments`.
    Raises: Stopped on SIGINT or SIGTERM, with every run saved; RunHeldError if another process is at this study;
        the error of a worker whose configuration, corpus or disk would fail the others too; RnnlabError, after the
        report of the rest was written, if a cell fails by itself.
    """
    from rnnlab.views.board import write_study_root  # TensorBoard's protocols: not for those who only plan
    from rnnlab.views.hparams import hyperparameters

    device = experiment.build(plan.variants[0].config, shapes_only=True, needs_corpus=False).trainer.training_device()
    slots = environments(workers, device)
    with _held(plan.folder):
        _say_what_changed(plan)
        with storage_errors(f"{plan.folder}: the study cannot be kept there"):
            write_file(plan.folder / BASELINE, plan.variants[0].config.text.encode())
            write_file(plan.folder / STUDY, definition.text(plan.ablation).encode())
            write_study_root(plan.folder, [hyperparameters(cell.variant.config.text) for cell in plan.cells()])
            for cell in plan.cells():
                cell.config_file.parent.mkdir(parents=True, exist_ok=True)
                write_file(cell.config_file, cell.variant.config.text.encode())
        todo = [cell for cell in plan.cells() if finished(cell.folder) is None]
        kept = len(plan.cells()) - len(todo)
        with Pool(slots, plan.folder / LOGS) as pool, Interrupts() as interrupts:
            failed = _train(plan, pool, todo, kept, interrupts)
        conclusion = _report(plan, len(todo) - len(failed), kept)
    if failed:
        raise RnnlabError(f"{len(failed)} of {len(plan.cells())} cells failed; {failed[0]}")
    return conclusion


def _train(plan: AblationPlan, pool: Pool, todo: Sequence[Cell], kept: int, interrupts: Interrupts) -> list[str]:
    """Train the cells; a line on each that failed by itself."""
    waiting = list(todo)
    cells = {str(cell.folder): cell for cell in todo}
    attempts = dict.fromkeys(cells, 0)
    failed: list[str] = []
    with tqdm(total=kept + len(todo), initial=kept, desc="cells", unit="cell", disable=None) as bar:
        while waiting or pool.busy:
            if interrupts.received is not None:
                pool.stop()
                raise Stopped(interrupts.received, f"; the same command goes on with {plan.folder}")
            for ended in pool.poll():
                folder = ended.job["folder"]
                if finished(Path(folder)) is not None:
                    bar.update()
                elif _may_try_again(ended, attempts[folder]):
                    waiting.append(cells[folder])
                else:
                    failed.append(str(ended))
            while waiting and pool.free:
                cell = waiting.pop(0)
                attempts[str(cell.folder)] += 1
                pool.start(
                    {"kind": "cell", "config": str(cell.config_file), "seed": cell.seed, "folder": str(cell.folder),
                     "variant": f"{cell.variant.name} ({plan.folder.resolve().name})"}
                )  # fmt: skip
            time.sleep(0.1)
    return failed


def _may_try_again(ended: Ended, attempts: int) -> bool:
    """Whether a cell that ended early is worth another go: only if its worker was killed.

    Raises: the worker's error, if it is one that the other cells would meet as well.
    """
    if ended.code in ERRORS:
        raise ERRORS[ended.code](str(ended))
    return ended.was_killed and attempts < MOST_ATTEMPTS


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Raises: RunHeldError if another process is at this study; StorageError."""
    with storage_errors(f"{folder}: the study cannot be kept there"):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunHeldError(f"{folder}: another process is at this study; wait for it, or stop it first") from None
        yield
    finally:
        os.close(descriptor)


def _say_what_changed(plan: AblationPlan) -> None:
    """Tell of a baseline that is not the one that this folder was used with before; its cells stay where they are."""
    path = plan.folder / BASELINE
    if not path.is_file():
        return
    found = diff(config.load(path), plan.variants[0].config)
    if found:
        print(
            f"rnnlab: the baseline changed since {plan.folder} was last used, so all cells are trained anew; those of "
            f"before stay beside them\n{format_differences(found)}",
            end="",
            file=sys.stderr,
        )


def _report(plan: AblationPlan, trained: int, kept: int) -> Conclusion:
    """Write the tables and the plot for what is finished."""
    facts: dict[str, Any] = {"folder": str(plan.folder), "cells": {"trained": trained, "kept": kept}, "tables": {}}
    texts, files = [], []
    for stem, title, variants in _tables(plan):
        reported = [shown for variant in variants if (shown := _reported(plan, variant)).results]
        if not reported or reported[0].name != plan.ablation.baseline:
            continue
        table = ablation_table(reported, plan.ablation.baseline, plan.ablation.metric, title)
        files += write_report(reported, plan.ablation.baseline, plan.folder, plan.ablation.metric, stem, title)
        facts["tables"][stem] = json.loads(to_json(table))
        texts.append(to_text(table))
    facts["files"] = [str(path) for path in files]
    texts.append(f"{trained} cells trained, {kept} kept; tables and plot: {plan.folder}")
    return Conclusion(facts, "\n".join(texts))


def _tables(plan: AblationPlan) -> Iterator[tuple[str, str, Sequence[PlannedVariant]]]:
    yield "ablation", "", plan.variants
    if plan.matched:
        worst = max(abs(variant.match_error) for variant in plan.matched)
        cost = {"parameters": "parameters", "macs": "MACs per byte"}[plan.ablation.match or "parameters"]
        yield "matched", f"Ablation at equal {cost} (at most {100 * worst:.2f}% apart)", plan.matched


def _reported(plan: AblationPlan, variant: PlannedVariant) -> TrainedVariant:
    results = {seed: finished(Cell(plan.folder, variant, seed).folder) for seed in plan.seeds}
    return TrainedVariant(
        variant.name, {seed: result for seed, result in results.items() if result is not None}, variant.bindings
    )

"""`rnnlab ablate` at work: it trains the cells that are not finished, and writes the report."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rnnlab import config
from rnnlab.config import diff, format_differences
from rnnlab.console import say
from rnnlab.errors import RnnlabError, RunHeldError
from rnnlab.locks import LockTaken, locked_folder
from rnnlab.storage.durable import storage_errors, write_file
from rnnlab.studies import definition
from rnnlab.studies.ablation import predictions
from rnnlab.studies.ablation.cells import Cell
from rnnlab.studies.ablation.failures import Failures
from rnnlab.studies.ablation.known import CellsFile
from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.reopen import write_plan
from rnnlab.studies.ablation.report import write_report
from rnnlab.studies.ablation.sequential import run_until
from rnnlab.studies.launch.choice import launcher
from rnnlab.studies.launch.launcher import ERRORS, Job, Launcher, WorkerExit
from rnnlab.studies.launch.run import finished, train_job
from rnnlab.studies.launch.slurm.request import SlurmRequest
from rnnlab.studies.source import noun_of_source
from rnnlab.training import experiment

BASELINE = "baseline.gin"

MOST_ATTEMPTS = 3  # at a cell whose worker is killed


def run_ablation(
    plan: AblationPlan, workers: int | None = None, others: Sequence[Path] = (), slurm: SlurmRequest | None = None
) -> tuple[dict[str, Any], str]:
    """Train the cells that are not finished, and report on all.

    Args:
        others: files of cells that were trained elsewhere; see `rnnlab.studies.ablation.known.known_cells`.
        workers, slurm: where the cells are trained; see `rnnlab.studies.launch.choice.launcher`.
    Returns: as `rnnlab.studies.ablation.report.write_report`.
    Raises: Stopped on SIGINT or SIGTERM, with every run of this machine saved; Detached once every job was submitted
        for which nobody is to wait; RunHeldError if another process is at this study;
        the error of a worker whose configuration, corpus or disk would fail the others too; RnnlabError, after the
        report of the rest was written, if a cell fails by itself.
    """
    device = experiment.build(plan.variants[0].config, shapes_only=True, needs_source=False).trainer.training_device()
    chosen = launcher(plan.folder, device, workers, slurm)
    with _held(plan.folder):
        _say_what_changed(plan)
        plan.known_tuning(others), plan.known(others)  # what cannot be read is refused before anything is written
        _write_definitions(plan)
        tally, stop = CellTally(), None

        def train(at: AblationPlan) -> bool:
            known = at.known(others)
            todo = [cell for cell in at.cells() if not known.is_done(cell)]
            return tally.add(_train(pool, at, at.cells(), todo, at.cells_file(known)))

        with chosen as pool:
            plan = _tune(pool, plan, others)
            _write_study_root(plan)
            if plan.ablation.until is not None:
                plan, stop = run_until(plan, train)
            elif not plan.sizes or _predict_largest(plan, train, others):
                train(plan)
        cells = len(plan.cells())
        report = write_report(plan, tally.trained, cells - tally.trained - len(tally.failed), stop)
    if tally.failed:
        raise RnnlabError(f"{len(tally.failed)} of {cells} cells failed; {tally.failed[0]}")
    return report


@dataclass
class CellTally:
    """What became of cells that were not finished.

    Attributes:
        failed: a line on each that failed by itself.
    """

    trained: int = 0
    failed: list[str] = field(default_factory=list)

    def add(self, more: "CellTally") -> bool:
        """Count in what became of more cells; whether none of them failed."""
        self.trained += more.trained
        self.failed += more.failed
        return not more.failed


def _write_definitions(plan: AblationPlan) -> None:
    """Write the study as it is run, and its baseline before any tuning."""
    with storage_errors(f"{plan.folder}: the study cannot be kept there"):
        write_file(plan.folder / BASELINE, plan.variants[0].config.text.encode())
        definition.write(plan.ablation, definition.name_of(plan.folder), plan.folder)
    _write_cells(plan)


def _write_cells(plan: AblationPlan) -> None:
    """Write which cells there are to be, for `rnnlab status`."""
    _write_configurations(plan.folder, [*plan.tuning_cells(), *plan.cells()])
    with storage_errors(f"{plan.folder}: the study cannot be kept there"):
        write_plan(plan)


def _write_study_root(plan: AblationPlan) -> None:
    """Write what TensorBoard needs to know of the variants that are compared."""
    from rnnlab.views.board import write_study_root  # TensorBoard's protocols: not for those who only plan
    from rnnlab.views.hparams import hyperparameters

    if plan.ablation.tune:
        _write_cells(plan)  # with the settings that were chosen
    with storage_errors(f"{plan.folder}: the study cannot be kept there"):
        write_study_root(plan.folder, [hyperparameters(cell.variant.config.text) for cell in plan.cells()])


def _write_configurations(folder: Path, cells: Sequence[Cell]) -> None:
    with storage_errors(f"{folder}: the study cannot be kept there"):
        for path, text in {cell.config_file: cell.variant.config.text for cell in cells}.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, text.encode())


def _tune(pool: Launcher, plan: AblationPlan, others: Sequence[Path]) -> AblationPlan:
    """The plan with every variant at its best setting, once the cells that decide it are finished.

    Raises: RnnlabError if one of them failed: variants that were not tuned alike are not compared.
    """
    cells, known = plan.tuning_cells(), plan.known_tuning(others)
    todo = [cell for cell in cells if not known.is_done(cell)]
    if failed := _train(pool, plan, cells, todo, plan.tuning_file(known), doing="tuning").failed:
        raise RnnlabError(f"{len(failed)} of {len(cells)} cells of tuning failed, so nothing is compared; {failed[0]}")
    tuned = plan.tuned()
    assert tuned is not None
    return tuned


def _predict_largest(plan: AblationPlan, train: Callable[[AblationPlan], bool], others: Sequence[Path]) -> bool:
    """Train the smaller sizes, and write down what they say of the largest before it is trained.

    Returns: whether the largest is to be trained: not if cells failed, since the prediction is made once.
    """
    if not train(plan.smaller()):
        say(f"cells failed, so {plan.largest} is neither predicted nor trained; the same command goes on")
        return False
    known = plan.known(others)
    if not all(known.is_done(cell) for cell in plan.cells()):
        predictions.write_and_say(plan, known)
    return True


def _train(
    pool: Launcher,
    plan: AblationPlan,
    cells: Sequence[Cell],
    todo: Sequence[Cell],
    file: CellsFile,
    doing: str = "cells",
) -> CellTally:
    """Train those of the cells that are not done.

    Args:
        file: where those that end are noted.
        doing: what the progress bar says.
    """
    if not todo:
        return CellTally()
    kept = len(cells) - len(todo)
    waiting = [_job(plan, cell) for cell in todo]
    attempts = Counter[str]()
    failures = Failures(plan.folder)
    failed: list[str] = []
    with tqdm(total=kept + len(todo), initial=kept, desc=doing, unit="cell", disable=None) as bar:
        while waiting or pool.busy:
            for ended in pool.poll():
                if finished(Path(ended.job["folder"])) is not None:
                    file.note(Path(ended.job["folder"]))
                    bar.update()
                    continue
                failures.note(Path(ended.job["folder"]), str(ended))
                if _may_try_again(ended, attempts[ended.job["folder"]]):
                    waiting.append(ended.job)
                else:
                    failed.append(str(ended))
            while waiting and pool.free:
                job = waiting.pop(0)
                attempts[job["folder"]] += 1
                failures.forget(Path(job["folder"]))
                pool.start(train_job, job)
            time.sleep(0.1)
    return CellTally(len(todo) - len(failed), failed)


def _job(plan: AblationPlan, cell: Cell) -> Job:
    variant = f"{cell.name} ({definition.name_of(plan.folder)})"
    run = {"config": str(cell.config_file), "seed": cell.seed, "folder": str(cell.folder), "variant": variant}
    return {**run, "test": cell.is_tested}


def _may_try_again(ended: WorkerExit, attempts: int) -> bool:
    """Whether a cell that ended early is worth another go: only if its worker was killed.

    Raises: the worker's error, if it is one that the other cells would meet as well.
    """
    if ended.code in ERRORS:
        raise ERRORS[ended.code](str(ended))
    return ended.was_killed and attempts < MOST_ATTEMPTS


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Raises: RunHeldError if another process is at this study; StorageError."""
    with ExitStack() as stack:
        with storage_errors(f"{folder}: the study cannot be kept there"):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(locked_folder(folder))
            except LockTaken as holder:
                raise RunHeldError(
                    f"{folder}: another process is at this study ({holder}); wait for it, or stop it first"
                ) from None
        yield


def _say_what_changed(plan: AblationPlan) -> None:
    """Tell of a baseline, a text or a task that is not the one that this folder was used with before."""
    path = plan.folder / BASELINE
    if not path.is_file():
        return
    before = config.load(path)
    found = min((diff(before, variant.config) for variant in plan.baselines), key=len)  # a smaller size may be new
    cells = [*plan.tuning_cells(), *plan.cells()]
    begun = any(any(cell.config_file.parent.glob("seed-*")) for cell in cells if cell.config_file.exists())
    anew = "all cells are trained anew; those of before stay beside them"
    if not all(difference.is_place for difference in found):
        shown = format_differences(found).rstrip("\n")
        say(f"the baseline changed since {plan.folder} was last used, so {anew}\n{shown}")
    elif begun and not any(cell.folder.exists() for cell in cells):
        say(f"the {noun_of_source(plan.variants[0].config)} changed since {plan.folder} was last used, so {anew}")

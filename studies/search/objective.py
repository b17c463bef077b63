"""What a worker of a search does: one trial of the first stage, or one candidate of the second."""

import math
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.pruners import WilcoxonPruner
from optuna.samplers import BaseSampler, RandomSampler

from rnnlab.errors import ConfigError, Diverged, Stopped
from rnnlab.storage import metrics
from rnnlab.storage.metrics import Record
from rnnlab.studies.launch.run import train_run
from rnnlab.studies.search.database import Ledger, Lost, retry_history, work
from rnnlab.studies.search.plan import CONFIRM, TRIALS, SearchPlan, reopen
from rnnlab.training import experiment
from rnnlab.training.loop import Loop, Observer

Check = Callable[[], None]


def run_trial(job: dict[str, Any], check: Check) -> None:
    """One trial of the search: draw parameters, train, report valid BPC at bytes seen, be pruned.

    Args:
        job: what the parent sent.
        check: raises Stopped if a signal has come.
    Raises: what training raises, after the trial was queued again.
    """
    plan = reopen(Path(job["folder"]), job["url"], job["study"])

    def sampler(ledger: Ledger) -> BaseSampler:
        return plan.sampler(ledger.next_draw())

    def objective(ledger: Ledger, trial: optuna.Trial, release: Check) -> float:
        bindings = plan.space.bindings(plan.space.suggest(trial))
        trial.set_user_attr("bindings", bindings)
        release()
        try:
            built = experiment.build(plan.base.vary([], bindings))
        except ConfigError as error:  # two values that do not go together, such as a width and a number of heads
            trial.set_user_attr("outcome", f"refused: {error}")
            raise optuna.TrialPruned from error
        check()
        watcher = Watcher(ledger, trial, plan)
        folder, *earlier = run_folders(plan.folder / TRIALS, ledger, trial)
        try:
            result = train_run(built, folder, watcher.watch, earlier, variant=f"trial {trial.number}")
        except Stopped:
            watcher.pass_judgment()
            raise
        except Diverged:
            result = {"status": "diverged"}
        if result["status"] == "diverged" or not math.isfinite(result["valid_bpc"]):
            trial.set_user_attr("outcome", "diverged")
            watcher.report(watcher.budget, math.inf)
            raise optuna.TrialPruned
        trial.set_user_attr("outcome", "complete")
        return float(result["valid_bpc"])

    work(plan.address, job["budget"], objective, sampler, plan.pruner())


def run_candidate(job: dict[str, Any], check: Check) -> None:
    """One candidate of the second stage: its mean BPC over fresh seeds, each reported under its seed, so that the
    pruner compares pairs.

    Args and raises: as `run_trial`.
    """
    plan = reopen(Path(job["folder"]), job["url"], job["study"])

    def objective(ledger: Ledger, trial: optuna.Trial, release: Check) -> float:
        trial.suggest_int("candidate", 0, 2**31)
        attributes = trial.user_attrs
        name = f"trial {attributes['candidate']}, fresh seeds"
        release()
        folders = run_folders(plan.folder / CONFIRM, ledger, trial)
        reported = dict(ledger.trials()[trial.number].intermediate_values)
        for seed in plan.fresh_seeds():
            check()
            config = plan.base.vary([], [*attributes["bindings"], f"Trainer.seed = {seed}"])
            folder, *earlier = [folder / f"seed-{seed}" for folder in folders]
            try:
                result = train_run(experiment.build(config), folder, earlier=earlier, variant=name)
                bpc = float(result.get("valid_bpc") or math.inf)
            except Diverged:
                bpc = math.inf
            if seed not in reported:
                report(trial, bpc, seed)
                reported[seed] = bpc
            if not math.isfinite(bpc) or trial.should_prune():
                raise optuna.TrialPruned
        return math.fsum(reported.values()) / len(reported)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        pruner = WilcoxonPruner()
    work(plan.confirmation, job["budget"], objective, lambda ledger: RandomSampler(seed=0), pruner)


def run_folders(parent: Path, ledger: Ledger, trial: optuna.Trial) -> list[Path]:
    """The folder of a trial, then those of the trials that it repeats, the newest first."""
    history = retry_history(ledger.trials()[trial.number])
    return [parent / f"trial-{number:04d}" for number in (trial.number, *reversed(history))]


def report(trial: optuna.Trial, value: float, step: int) -> None:
    """Raises: Lost if another worker has the trial now."""
    try:
        trial.report(value, step)
    except UpdateFinishedTrialError:
        raise Lost from None


class Watcher:
    """Tells the study what a run has reached, and ends the run when the study has seen enough."""

    def __init__(self, ledger: Ledger, trial: optuna.Trial, plan: SearchPlan) -> None:
        self._ledger, self._trial, self._every = ledger, trial, plan.evaluate_every
        self.budget = int(plan.base.value("Trainer.bytes"))
        self._reported = set(ledger.trials()[trial.number].intermediate_values)
        self._verdict: BaseException | None = None

    def watch(self, loop: Loop) -> Observer:
        """An observer for the loop. What the journal of a run that is gone on with holds is reported first."""
        for record in metrics.read(loop.folder.journal.path):
            if record["kind"] == "valid" and record["valid_bpc"] is not None:
                self.report(record["bytes"], record["valid_bpc"])

        def observe(record: Record) -> None:
            if record["kind"] != "valid":
                return
            loop.save()  # before the report: a retry must not have reported more than it can go on from
            try:
                self.report(record["bytes"], record["valid_bpc"])
                if record["bytes"] < self.budget and self._trial.should_prune():
                    self._trial.set_user_attr("outcome", f"pruned at {record['bytes']:,} bytes")
                    self._verdict = optuna.TrialPruned()
            except Lost as lost:
                self._verdict = lost
            if self._verdict is not None:
                raise Stopped(signal.SIGTERM)  # the loop ends as it does at a signal: saved, and with a result

        return observe

    def report(self, seen: int, bpc: float) -> None:
        """Report at the multiple of the evaluation's distance that was just passed: chunks of different lengths must
        not shift the steps at which trials are compared."""
        step = seen // self._every * self._every
        if step not in self._reported:
            report(self._trial, bpc, step)
            self._reported.add(step)

    def pass_judgment(self) -> None:
        """Raise what the run was ended for, if it was not a signal."""
        if self._verdict is not None:
            raise self._verdict

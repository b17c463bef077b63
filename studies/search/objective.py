"""What a worker of a search does: one trial of the first stage, or one candidate of the second."""

import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import optuna
from optuna.samplers import RandomSampler

from rnnlab.console import say
from rnnlab.errors import ConfigError, Diverged, OutOfMemory, Stopped, reporting_out_of_memory
from rnnlab.storage import metrics
from rnnlab.storage.metrics import Record
from rnnlab.studies.launch.launcher import Check, Job
from rnnlab.studies.launch.run import train_run
from rnnlab.studies.metric import counted_in, score, worst
from rnnlab.studies.search.confirm import candidate_folders
from rnnlab.studies.search.database import (
    Release,
    SharedStudy,
    TrialLost,
    report,
    run_folders,
    run_one_trial,
    silence_optuna,
)
from rnnlab.studies.search.pareto import costs_of
from rnnlab.studies.search.plan import CONFIRM, TRIALS, SearchPlan, reopen
from rnnlab.studies.search.seeds import confirmation_pruner, mean_over_seeds
from rnnlab.training import experiment
from rnnlab.training.loop import Loop, Observer


def run_trial(job: Job, check: Check) -> None:
    """One trial of the search: draw parameters, train, report the search's metric at bytes seen, be pruned.

    Args:
        job: what the driver sent: "folder", "url" and name of the "study", and the "budget" of trials.
        check: raises Stopped if a signal has come.
    Raises: what training raises, after the trial was queued again.
    """
    with _plan_of(job, check) as plan:
        run_one_trial(plan.address, job["budget"], partial(_train_trial, plan, check), plan.sampler, plan.pruner())


def run_candidate(job: Job, check: Check) -> None:
    """One candidate of the second stage: its mean over fresh seeds, each reported under its seed, so that the pruner
    compares pairs.

    Args and raises: as `run_trial`.
    """
    with _plan_of(job, check) as plan:
        objective, pruner = partial(_train_seeds, plan, check), confirmation_pruner()
        run_one_trial(plan.confirmation, job["budget"], objective, lambda draw: RandomSampler(seed=0), pruner)


@contextmanager
def _plan_of(job: Job, check: Check) -> Iterator[SearchPlan]:
    """The plan of the job. A trial that another worker has taken over ends the block, and is no error."""
    silence_optuna()
    check()
    try:
        yield reopen(Path(job["folder"]), job["url"], job["study"])
    except TrialLost:
        say("another worker has taken over the trial")


def _train_trial(plan: SearchPlan, check: Check, study: SharedStudy, trial: optuna.Trial, release: Release) -> float:
    bindings = plan.space.bindings(plan.space.suggest(trial))
    trial.set_user_attr("bindings", bindings)
    release()
    try:
        with reporting_out_of_memory():
            built = experiment.build(plan.base.vary([], bindings))
    except (ConfigError, OutOfMemory) as error:  # such as a width and a number of heads that do not go together
        trial.set_user_attr("outcome", f"refused: {error}")
        raise optuna.TrialPruned from error
    check()
    reporter = Reporter(study, trial, plan)
    folder, *earlier = run_folders(plan.folder / TRIALS, study.trials()[trial.number])
    try:
        with reporting_out_of_memory():
            result = train_run(built, folder, reporter.observer, earlier, variant=f"trial {trial.number}")
    except Stopped:
        if reporter.stopped_by is not None:
            raise reporter.stopped_by from None
        raise
    except Diverged:
        result = {"status": "diverged"}
    except OutOfMemory as error:
        say(str(error))
        result = {"status": "out of memory"}
    reached = score(result, plan.metric.key)
    if not math.isfinite(reached):
        trial.set_user_attr("outcome", "diverged" if result["status"] == "done" else result["status"])
        reporter.report(plan.budget, worst(plan.metric))
        raise optuna.TrialPruned
    trial.set_user_attr("outcome", "complete")
    for key, cost in costs_of(result).items():
        trial.set_user_attr(key, cost)
    return reached


def _train_seeds(plan: SearchPlan, check: Check, study: SharedStudy, trial: optuna.Trial, release: Release) -> float:
    attributes = trial.user_attrs
    if "candidate" not in attributes:  # none was queued: it stands in for one that has been tried too often
        trial.set_user_attr("outcome", "stands in for a candidate that is given up")
        raise optuna.TrialPruned
    trial.suggest_int("candidate", 0, 2**31)
    name = f"trial {attributes['candidate']}, fresh seeds"
    release()
    recorded = study.trials()[trial.number]
    folders = candidate_folders(plan.folder / CONFIRM, recorded)

    def reach(seed: int) -> float:
        check()
        config = plan.base.vary([], [*attributes["bindings"], f"Trainer.seed = {seed}"])
        folder, *earlier = [folder / f"seed-{seed}" for folder in folders]
        try:
            with reporting_out_of_memory():
                result = train_run(experiment.build(config), folder, earlier=earlier, variant=name)
        except Diverged:
            trial.set_user_attr("outcome", "diverged")
            return worst(plan.metric)
        except OutOfMemory as error:
            say(str(error))
            trial.set_user_attr("outcome", "out of memory")
            return worst(plan.metric)
        found = score(result, plan.metric.key)
        return found if math.isfinite(found) else worst(plan.metric)

    return mean_over_seeds(trial, plan.fresh_seeds(), reach, recorded.intermediate_values)


class Reporter:
    """Reports to the study what a run has reached, and stops a run that is pruned or lost. The baseline is not pruned:
    what is found is compared with it.

    Attributes:
        stopped_by: TrialPruned or TrialLost, once that has stopped the run.
    """

    def __init__(self, study: SharedStudy, trial: optuna.Trial, plan: SearchPlan) -> None:
        self._trial, self._every, self._metric = trial, plan.evaluate_every, plan.metric
        self._reported = set(study.trials()[trial.number].intermediate_values)
        self._is_baseline = bool(trial.user_attrs.get("baseline"))
        self.stopped_by: BaseException | None = None

    def observer(self, loop: Loop) -> Observer:
        """An observer for the loop. What the journal of a continued run holds is reported first."""
        for record in metrics.read(loop.folder.journal.path):
            kind, seen, reached = (record.get(name) for name in ("kind", "bytes", self._metric.key))
            if kind == "valid" and isinstance(seen, int) and isinstance(reached, int | float):
                self.report(seen, reached)

        def observe(record: Record) -> None:
            if record["kind"] != "valid" or self._metric.key not in record:
                return
            loop.save(must=True)  # before the report: a retry must not have reported more than it can go on from
            try:
                self.report(record["bytes"], record[self._metric.key])
                ends = loop.learner.fraction() >= 1.0
                if not ends and not self._is_baseline and self._trial.should_prune():
                    counted = f"{record['bytes']:,} {counted_in(self._metric)}s"
                    self._trial.set_user_attr("outcome", f"pruned at {counted}")
                    self.stopped_by = optuna.TrialPruned()
            except TrialLost as lost:
                self.stopped_by = lost
            if self.stopped_by is not None:
                raise Stopped(signal.SIGTERM)  # the loop ends as it does at a signal: saved, and with a result

        return observe

    def report(self, seen: int, reached: float) -> None:
        """Report at the multiple of the evaluation's distance that was just passed: chunks of different lengths must
        not shift the steps at which trials are compared."""
        step = seen // self._every * self._every
        if step not in self._reported:
            report(self._trial, reached, step)
            self._reported.add(step)

"""`rnnlab search` at work: it keeps the workers of a search busy through both stages."""

import time

from optuna.trial import TrialState
from tqdm import tqdm

from rnnlab.errors import RnnlabError
from rnnlab.studies.launch.pool import ERRORS, Pool, Task, WorkerExit, worker_environments
from rnnlab.studies.search.confirm import enqueue_candidates
from rnnlab.studies.search.database import Address, SharedStudy, silence_optuna
from rnnlab.studies.search.objective import run_candidate, run_trial
from rnnlab.studies.search.plan import SearchPlan, create_or_resume
from rnnlab.training import experiment

MOST_FAILURES = 3  # workers in a row that end with an error, or three times as many that are killed


def run_search(plan: SearchPlan, workers: int | None = None) -> None:
    """Run what is left of both stages.

    Args:
        workers: processes at a time; see `rnnlab.studies.launch.pool.worker_environments`.
    Raises: Stopped on SIGINT or SIGTERM, with every trial saved and queued again; StorageError; the error of a worker
        if one after the other fails.
    """
    silence_optuna()
    device = experiment.build(plan.base, shapes_only=True, needs_source=False).trainer.training_device()
    environments = worker_environments(workers, device)
    create_or_resume(plan)
    with Pool(environments, plan.folder) as pool:
        _drive(plan, pool, plan.address, run_trial, "trial", plan.search.trials)
        if candidates := enqueue_candidates(plan):
            _drive(plan, pool, plan.confirmation, run_candidate, "candidate", candidates)
        pool.stop(patience=5.0)


def _drive(plan: SearchPlan, pool: Pool, address: Address, task: Task, unit: str, budget: int) -> None:
    """Keep the workers busy until `budget` trials have finished and none runs, here or elsewhere."""
    job = {"folder": str(plan.folder), "url": address.url, "study": plan.address.name, "budget": budget}
    with address.locked():
        study = SharedStudy(address)
    failures, look_again = 0.0, 0.0
    with tqdm(total=budget, desc=unit, unit=unit, disable=None) as bar:
        while True:
            ended = pool.poll()
            for worker in ended:
                failures = _count_failures(failures, worker)
            if ended or time.monotonic() >= look_again:
                running, done, wanted = _look(study, pool, budget)
                bar.update(done - bar.n)
                if done >= budget and not running:
                    return  # a worker that is left has lost its trial while it was held up
                for _ in range(min(pool.free, wanted)):
                    pool.start(task, job)
                look_again = time.monotonic() + (0.5 if pool.free else 2.0)
            time.sleep(0.05)


def _look(study: SharedStudy, pool: Pool, budget: int) -> tuple[int, int, int]:
    """(trials that run, trials that have finished, workers to start), after those of dead workers were queued again."""
    with study.address.locked():
        study.requeue_abandoned()
        # Whatever became of its trial: one that was held up and lost it will not claim another.
        signatures = [trial.user_attrs.get("worker", {}).items() for trial in study.trials()]
        claimed = sum(any(w.items() <= signed for signed in signatures) for w in pool.workers() if w is not None)
        running = len(study.trials(TrialState.RUNNING))
        return running, len(study.finished()), study.remaining(budget) - (pool.busy - claimed)


def _count_failures(before: float, ended: WorkerExit) -> float:
    """How many workers in a row have failed, one that was killed counting a third.

    Raises: the worker's error if that is too many.
    """
    if ended.code == 0:
        return 0.0
    now = before + (1 / 3 if ended.was_killed else 1)
    if now >= MOST_FAILURES - 1e-6:
        raise ERRORS.get(ended.code, RnnlabError)(f"one after the other fails; the last: {ended}")
    return now

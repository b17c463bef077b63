"""`rnnlab search` at work: it keeps the workers of a search busy through both stages."""

import time

from optuna.trial import TrialState
from tqdm import tqdm

from rnnlab.console import say
from rnnlab.errors import ConfigError, RnnlabError
from rnnlab.safe_text import hide_secrets
from rnnlab.studies.launch.choice import launcher
from rnnlab.studies.launch.launcher import ERRORS, Launcher, Task, WorkerExit
from rnnlab.studies.launch.slurm.request import SlurmRequest
from rnnlab.studies.launch.urls import check_url, is_server, shown
from rnnlab.studies.search.confirm import enqueue_candidates
from rnnlab.studies.search.database import Address, SharedStudy, silence_optuna
from rnnlab.studies.search.objective import run_candidate, run_trial
from rnnlab.studies.search.plan import SearchPlan, create_or_resume
from rnnlab.training import experiment

MOST_FAILURES = 3  # workers in a row that end with an error, or three times as many that are killed


def run_search(plan: SearchPlan, workers: int | None = None, slurm: SlurmRequest | None = None) -> None:
    """Run what is left of both stages.

    Args:
        workers, slurm: where the trials run; see `rnnlab.studies.launch.choice.launcher`.
    Raises: Stopped on SIGINT or SIGTERM, with every trial of this machine saved and queued again; Detached once every
        job was submitted for which nobody is to wait; StorageError; ConfigError for jobs that would be told a password;
        the error of a worker if one after the other fails.
    """
    silence_optuna()
    device = experiment.build(plan.base, shapes_only=True, needs_source=False).trainer.training_device()
    chosen = launcher(plan.folder, device, workers, slurm)
    if slurm is not None:
        _check_address(plan)
    create_or_resume(plan)
    with chosen as pool:
        _drive(plan, pool, plan.address, run_trial, "trial", plan.search.trials)
        if candidates := enqueue_candidates(plan):
            _drive(plan, pool, plan.confirmation, run_candidate, "candidate", candidates)
        pool.stop(patience=5.0)


def _check_address(plan: SearchPlan) -> None:
    """Raises: ConfigError if the jobs would be told a password: what they are to do is written into the study."""
    if hide_secrets(plan.address.url) != plan.address.url:
        raise ConfigError(
            f"--storage {shown(plan.address.url)}: with --slurm the address may hold no password, as it is written "
            f"down for the jobs; put it into the file that PGPASSFILE names"
        )
    if not is_server(check_url(plan.address.url)):
        say(
            "a database in a file serves the jobs of one node (nodelist=NAME); for several use --storage postgresql+psycopg://"
        )


def _drive(plan: SearchPlan, pool: Launcher, address: Address, task: Task, unit: str, budget: int) -> None:
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


def _look(study: SharedStudy, pool: Launcher, budget: int) -> tuple[int, int, int]:
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

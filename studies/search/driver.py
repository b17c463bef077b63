"""The parent of a search's workers: it keeps them busy through both stages, and stops them."""

import time

import optuna
from optuna.trial import TrialState
from tqdm import tqdm

from rnnlab.errors import RnnlabError, Stopped
from rnnlab.interrupts import Interrupts
from rnnlab.studies.launch.locks import database_errors, exclusive
from rnnlab.studies.launch.pool import ERRORS, Ended, Job, Pool, environments
from rnnlab.studies.search.database import Address, Ledger, quietly
from rnnlab.studies.search.plan import SearchPlan, establish
from rnnlab.training import experiment

LOGS = "logs"

MOST_FAILURES = 3  # workers in a row that end with an error, or three times as many that are killed


def run_search(plan: SearchPlan, workers: int | None = None) -> None:
    """Run what is left of both stages.

    Args:
        workers: processes at a time; see `rnnlab.studies.launch.pool.environments`.
    Raises: Stopped on SIGINT or SIGTERM, with every trial saved and queued again; StorageError; the error of a worker
        if one after the other fails.
    """
    quietly()
    device = experiment.build(plan.base, shapes_only=True, needs_corpus=False).trainer.training_device()
    slots = environments(workers, device)
    establish(plan)
    with Pool(slots, plan.folder / LOGS) as pool, Interrupts() as interrupts:
        _drive(plan, pool, plan.address, "trial", plan.search.trials, interrupts)
        if candidates := enqueue_candidates(plan):
            _drive(plan, pool, plan.confirmation, "candidate", candidates, interrupts)
        pool.stop(patience=5.0)


def enqueue_candidates(plan: SearchPlan) -> int:
    """Queue for the second stage the best trials of the first and the baseline; how many there are in all.

    The best comes first, so that the others can be pruned against it.
    """
    with exclusive(plan.address.url), database_errors(plan.address.url):
        complete = Ledger(plan.address).trials(TrialState.COMPLETE)
        best = sorted(complete, key=lambda trial: trial.value or 0.0)[: plan.search.confirm]
        if not best:
            return 0
        chosen = {trial.number: trial for trial in [*best, *(t for t in complete if t.user_attrs.get("baseline"))]}
        storage = plan.confirmation.storage()
        if plan.confirmation.name not in optuna.get_all_study_names(storage):
            optuna.create_study(study_name=plan.confirmation.name, storage=storage, direction="minimize")
        second = Ledger(plan.confirmation)
        known = {trial.user_attrs["candidate"] for trial in second.trials()}
        for trial in chosen.values():
            if trial.number not in known:
                attributes = {"candidate": trial.number, "bindings": trial.user_attrs["bindings"]}
                second.study.enqueue_trial({"candidate": trial.number}, user_attrs=attributes)
        return len(known | set(chosen))


def _drive(plan: SearchPlan, pool: Pool, address: Address, kind: str, budget: int, interrupts: Interrupts) -> None:
    """Keep the workers busy until `budget` trials have finished and none runs, here or elsewhere."""
    job: Job = {"kind": kind, "folder": str(plan.folder), "url": address.url, "study": plan.address.name,
                "budget": budget}  # fmt: skip
    with exclusive(address.url), database_errors(address.url):
        ledger = Ledger(address)
    failures, look_again = 0.0, 0.0
    with tqdm(total=budget, desc=kind, unit=kind, disable=None) as bar:
        while True:
            if interrupts.received is not None:
                pool.stop()
                raise Stopped(interrupts.received, f"; the same command goes on with {plan.folder}")
            ended = pool.poll()
            for worker in ended:
                failures = _count_failures(failures, worker)
            if ended or time.monotonic() >= look_again:
                running, done, wanted = _look(ledger, pool, budget)
                bar.update(done - bar.n)
                if done >= budget and not running:
                    return  # a worker that is left has lost its trial while it was held up
                for _ in range(min(pool.free, wanted)):
                    pool.start(job)
                look_again = time.monotonic() + (0.5 if pool.free else 2.0)
            time.sleep(0.05)


def _look(ledger: Ledger, pool: Pool, budget: int) -> tuple[int, int, int]:
    """(trials that run, trials that have finished, workers to start), after those of dead workers were queued again."""
    with exclusive(ledger.address.url), database_errors(ledger.address.url):
        ledger.reap()
        # Whatever became of its trial: one that was held up and lost it will not claim another.
        signed = {trial.user_attrs.get("worker", {}).get("pid") for trial in ledger.trials()}
        unclaimed = sum(pid not in signed for pid in pool.pids())
        running, done = ledger.trials(TrialState.RUNNING), ledger.finished()
        return len(running), len(done), ledger.open_slots(budget) - unclaimed


def _count_failures(before: float, ended: Ended) -> float:
    """How many workers in a row have failed, one that was killed counting a third.

    Raises: the worker's error if that is too many.
    """
    if ended.code == 0:
        return 0.0
    now = before + (1 / 3 if ended.was_killed else 1)
    if now >= MOST_FAILURES - 1e-6:
        raise ERRORS.get(ended.code, RnnlabError)(f"one after the other fails; the last: {ended}")
    return now

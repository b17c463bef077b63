"""A study in its storage: who works on which trial, what is left to do, and what becomes of a trial whose worker died.

A worker claims its trial under the study's lock (`rnnlab.studies.launch.locks`): it counts what is finished and
running, asks for parameters and signs the trial, so that the number of trials comes out exact whoever else works on
the study. A trial whose worker died is failed and queued again; the retry has the same parameters, the values reported
so far, and goes on from the newest checkpoint.
"""

import os
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from rnnlab.studies.launch.locks import database_errors, exclusive

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
MOST_RETRIES = 10  # of one trial; then another takes its place
GRACE = 6  # heartbeats that may be missing before a trial counts as abandoned


class Lost(BaseException):
    """The trial was given to another worker while this one was held up; not an Exception, so that Optuna lets it by."""


@dataclass(frozen=True)
class Address:
    """Where a study lives.

    Attributes:
        url: of the database.
        name: of the study in it.
        heartbeat: interval between the signs of life of a worker [s].
    """

    url: str
    name: str
    heartbeat: int

    def storage(self) -> RDBStorage:
        """Open the database, making its tables if there are none: under the lock."""
        engine: dict[str, Any] = {"poolclass": sqlalchemy.NullPool}  # nothing stays open between two questions
        if self.url.startswith("sqlite"):
            engine["connect_args"] = {"timeout": 60}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # heartbeat and retry, since Optuna 2.8
            return RDBStorage(
                self.url,
                engine_kwargs=engine,
                heartbeat_interval=self.heartbeat,
                grace_period=GRACE * self.heartbeat,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(
                    max_retry=MOST_RETRIES, inherit_intermediate_values=True
                ),
            )


class Ledger:
    """A study that exists. Whatever reads and then writes does so under the lock: `with exclusive(address.url)`."""

    def __init__(self, address: Address, pruner: BasePruner | None = None) -> None:
        self.address = address
        self.study = optuna.load_study(study_name=address.name, storage=address.storage(), pruner=pruner)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Trials in these states, or all, by number."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def finished(self) -> list[FrozenTrial]:
        return self.trials(*FINISHED)

    def open_slots(self, budget: int) -> int:
        """How many trials are left to begin so that `budget` of them finish, if all that run now do."""
        return budget - len(self.trials(*FINISHED, TrialState.RUNNING))

    def next_draw(self) -> int:
        """Which draw from the space the next trial is; a retry is no new draw."""
        drawn = [trial.user_attrs["draw"] for trial in self.trials() if "draw" in trial.user_attrs]
        waiting = self.trials(TrialState.WAITING)
        if waiting and "draw" in waiting[0].user_attrs:
            return int(waiting[0].user_attrs["draw"])
        return 1 + max(drawn, default=-1)

    def reap(self) -> list[int]:
        """Fail and queue again the trials whose worker is gone; their numbers. Under the lock.

        A worker of this machine is gone when its process is; one of another machine when its heartbeat is overdue.
        """
        gone = {trial.number for trial in self.trials(TrialState.RUNNING) if not _may_be_alive(trial)}
        # One that ended between the two questions has finished its trial; after its end nobody changes the state.
        gone &= {trial.number for trial in self.trials(TrialState.RUNNING)}
        for number in sorted(gone):
            self.study.tell(number, state=TrialState.FAIL)
            self.retry(number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            fail_stale_trials(self.study)
        return sorted(gone)

    def retry(self, number: int) -> None:
        """Queue a failed trial again, unless that was done. Under the lock."""
        trials = self.trials()
        if trials[number].state is not TrialState.FAIL or any(number in retry_history(trial) for trial in trials):
            return
        callback = RetryHeartbeatStaleTrialCallback
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            callback(max_retry=MOST_RETRIES, inherit_intermediate_values=True)(self.study, trials[number])

    def is_ours(self, trial: optuna.Trial) -> bool:
        """Whether nobody else has failed the trial."""
        return bool(self.trials()[trial.number].state is TrialState.RUNNING)


def quietly() -> None:
    """Let Optuna say what is wrong, and no more."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def retry_history(trial: FrozenTrial) -> list[int]:
    """Numbers of the trials that this one repeats, the first one first."""
    return list(trial.system_attrs.get("retry_history", []))


def work(
    address: Address,
    budget: int,
    objective: Callable[[Ledger, optuna.Trial, Callable[[], None]], float],
    sampler: Callable[[Ledger], BaseSampler],
    pruner: BasePruner,
) -> bool:
    """Claim one trial and see it through.

    Args:
        budget: trials that are to finish, over all workers.
        objective: called with the ledger, the trial and what lets go of the lock, which it calls once it has its
            parameters.
        sampler: makes the sampler for the trial that is next.
    Returns: whether there was one to claim.
    Raises: what the objective raises, after the trial was queued again; Lost if another worker has the trial now.
    """
    with exclusive(address.url) as release, database_errors(address.url):
        ledger = Ledger(address, pruner)
        ledger.reap()
        if ledger.open_slots(budget) <= 0:
            return False
        claimed: list[int] = []
        draw = ledger.next_draw()
        ledger.study.sampler = sampler(ledger)

        def signed(trial: optuna.Trial) -> float:
            claimed.append(trial.number)
            trial.set_user_attr("worker", {"trial": trial.number, **identity()})
            trial.set_user_attr("draw", draw)
            value = objective(ledger, trial, release)
            if not ledger.is_ours(trial):
                raise Lost
            return value

        try:
            ledger.study.optimize(signed, n_trials=1)
        except Exception:
            release()
            for number in claimed:
                with exclusive(address.url):
                    ledger.retry(number)
            raise
    return True


def identity() -> dict[str, Any]:
    """Who this process is, so that others can tell whether it still runs."""
    return {"host": _machine(), "pid": os.getpid(), "started": _started(os.getpid())}


def _may_be_alive(trial: FrozenTrial) -> bool:
    """False only if it is certain: a claim that nobody signed was cut short, since signing is done under the lock."""
    worker: Mapping[str, Any] = trial.user_attrs.get("worker", {})
    if worker.get("trial") != trial.number:  # unsigned, or signed by the worker of the trial that this one repeats
        return False
    return bool(worker["host"] != _machine() or _started(worker["pid"]) == worker["started"])


@cache
def _machine() -> str:
    """This machine since it was started."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()} {boot.read_text().strip()}" if boot.exists() else socket.gethostname()


def _started(pid: int) -> int | None:
    """When a process was started [clock ticks since boot], so that a number that is used again is told apart; -1 where
    the system does not say; None if there is no such process, or it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return None if state in "ZX" else int(fields[18])
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return None
    except ProcessLookupError:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return -1


@contextmanager
def opened(address: Address) -> Iterator[Ledger]:
    """The ledger of a study that exists, under its lock."""
    with exclusive(address.url), database_errors(address.url):
        yield Ledger(address)

"""The trials of a search in their database, which several workers share.

A worker claims its trial under the study's lock (`rnnlab.studies.launch.locks`): it counts the trials that are finished
or running, asks for parameters and signs the trial. So the number of trials is exact, however many workers there are. A
trial whose worker died is failed and queued again; the retry has the same parameters and the values reported so far,
and it continues from the newest checkpoint.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from rnnlab.errors import Stopped, first_line
from rnnlab.safe_text import hide_secrets
from rnnlab.studies.launch.locks import exclusive
from rnnlab.studies.launch.process import may_be_running, process_identity
from rnnlab.studies.launch.urls import database_errors

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
MOST_RETRIES = 10  # of one trial; then another takes its place
GRACE = 6  # heartbeats that may be missing before a trial counts as abandoned

Direction: TypeAlias = Literal["minimize", "maximize"]
Release = Callable[[], None]  # releases the lock of the database


class TrialLost(BaseException):
    """The trial was given to another worker while this one was held up. No Exception: Optuna would catch it."""


@dataclass(frozen=True)
class Address:
    """Where a study lives.

    Attributes:
        url: of the database.
        name: of the study in it.
        heartbeat: interval between the signs of life of a worker [s].
    """

    url: str = field(repr=False)  # it may hold a password
    name: str
    heartbeat: int

    @contextmanager
    def locked(self) -> Iterator[Release]:
        """Hold the lock of the database within the block; what is yielded releases it before the end.

        Raises: StorageError if the lock cannot be had, or for an error of the database.
        """
        with exclusive(self.url) as release, database_errors(self.url):
            yield release

    def exists(self) -> bool:
        """Whether the database holds the study. Under the lock."""
        return self.name in optuna.get_all_study_names(self.storage())

    def create(self, direction: Direction = "minimize") -> None:
        """Make the study, which looks for the least or the most. Under the lock."""
        optuna.create_study(study_name=self.name, storage=self.storage(), direction=direction)

    def storage(self) -> RDBStorage:
        """Open the database, making its tables if there are none: under the lock."""
        connect_args = {"timeout": 60} if self.url.startswith("sqlite") else {}
        with experimental_features():  # heartbeat and retry, since Optuna 2.8
            return RDBStorage(
                self.url.replace("{", "{{").replace("}", "}}"),  # Optuna formats it
                # NullPool: nothing stays open between two questions
                engine_kwargs={"poolclass": sqlalchemy.NullPool, "connect_args": connect_args},
                heartbeat_interval=self.heartbeat,
                grace_period=GRACE * self.heartbeat,
                heartbeat_stale_trial_callback=_retry_callback(),
            )


class SharedStudy:
    """An Optuna study that exists. What reads and then writes holds the lock: `with address.locked()`."""

    def __init__(self, address: Address, pruner: BasePruner | None = None) -> None:
        self.address = address
        self.optuna = optuna.load_study(study_name=address.name, storage=address.storage(), pruner=pruner)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Trials in these states, or all, by number."""
        return self.optuna.get_trials(deepcopy=False, states=states or None)

    def finished(self) -> list[FrozenTrial]:
        return self.trials(*FINISHED)

    def remaining(self, budget: int) -> int:
        """How many trials are left to begin so that `budget` of them finish, if all that run now do."""
        return budget - len(self.trials(*FINISHED, TrialState.RUNNING))

    def next_draw(self) -> int:
        """Which draw from the space the next trial is; a retry is no new draw."""
        drawn = [trial.user_attrs["draw"] for trial in self.trials() if "draw" in trial.user_attrs]
        waiting = self.trials(TrialState.WAITING)
        if waiting and "draw" in waiting[0].user_attrs:
            return int(waiting[0].user_attrs["draw"])
        return 1 + max(drawn, default=-1)

    def requeue_abandoned(self) -> list[int]:
        """Fail and queue again the trials whose worker is gone; their numbers. Under the lock.

        A worker of this machine and PID namespace is gone when its process is; any other when its heartbeat is overdue.
        """
        gone = {trial.number for trial in self.trials(TrialState.RUNNING) if not may_be_alive(trial)}
        # One that ended between the two questions has finished its trial; after its end nobody changes the state.
        gone &= {trial.number for trial in self.trials(TrialState.RUNNING)}
        for number in sorted(gone):
            self.optuna.tell(number, state=TrialState.FAIL)
        with experimental_features():
            fail_stale_trials(self.optuna)
        for trial in self.trials(TrialState.FAIL):  # older ones too: who failed one may have died before queueing it
            self.retry(trial.number)
        return sorted(gone)

    def retry(self, number: int) -> None:
        """Queue a failed trial again, unless that was done. Under the lock."""
        trials = self.trials()
        if trials[number].state is not TrialState.FAIL or any(number in retry_history(trial) for trial in trials):
            return
        with experimental_features():
            _retry_callback()(self.optuna, trials[number])


def silence_optuna() -> None:
    """Let Optuna print its warnings only."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def retry_history(trial: FrozenTrial) -> list[int]:
    """Numbers of the trials that this one repeats, the first one first."""
    return list(trial.system_attrs.get("retry_history", []))


def run_folders(parent: Path, trial: FrozenTrial) -> list[Path]:
    """The folder of a trial below `parent`, then those of the trials that it repeats, the newest first."""
    return [parent / f"trial-{number:04d}" for number in (trial.number, *reversed(retry_history(trial)))]


def report(trial: optuna.Trial, value: float, step: int) -> None:
    """Report a value to the pruner. Raises: TrialLost if another worker has the trial now."""
    try:
        trial.report(value, step)
    except UpdateFinishedTrialError:
        raise TrialLost from None


@contextmanager
def experimental_features() -> Iterator[None]:
    """Use what Optuna calls experimental, without its warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def _retry_callback() -> RetryHeartbeatStaleTrialCallback:
    return RetryHeartbeatStaleTrialCallback(max_retry=MOST_RETRIES, inherit_intermediate_values=True)


Objective = Callable[[SharedStudy, optuna.Trial, Release], float]


def run_one_trial(
    address: Address, budget: int, objective: Objective, sampler: Callable[[int], BaseSampler], pruner: BasePruner
) -> bool:
    """Claim one trial and run it.

    Args:
        budget: trials that are to finish, over all workers.
        objective: called with the study, the trial and a function that releases the lock, which it calls once it has
            its parameters.
        sampler: makes the sampler for the draw of a number, see `SharedStudy.next_draw`.
    Returns: whether there was one to claim.
    Raises: what the objective raises, after the trial was queued again; TrialLost if another worker has the trial now.
    """
    with address.locked() as release:
        study = SharedStudy(address, pruner)
        study.requeue_abandoned()
        if study.remaining(budget) <= 0:
            return False
        claimed: list[int] = []
        draw = study.next_draw()
        study.optuna.sampler = sampler(draw)

        def claim_and_run(trial: optuna.Trial) -> float:
            claimed.append(trial.number)
            trial.set_user_attr("worker", {"trial": trial.number, **process_identity()})
            trial.set_user_attr("draw", draw)
            with _noting_failure(trial):
                value = objective(study, trial, release)
            if study.trials()[trial.number].state is not TrialState.RUNNING:
                raise TrialLost
            return value

        try:
            study.optuna.optimize(claim_and_run, n_trials=1)
        except Exception:
            release()
            for number in claimed:
                with address.locked():
                    study.retry(number)
            raise
    return True


@contextmanager
def _noting_failure(trial: optuna.Trial) -> Iterator[None]:
    """Leave the error that ends a trial with it, signed as its worker is: a retry inherits what stands there."""
    try:
        yield
    except (optuna.TrialPruned, Stopped):
        raise
    except Exception as error:
        said = hide_secrets(f"{type(error).__name__}: {first_line(error)}")
        with suppress(UpdateFinishedTrialError):
            trial.set_user_attr("failure", {"trial": trial.number, "said": said})
        raise


def failure(trial: FrozenTrial) -> str:
    """The error that ended a trial; empty if none did, or its worker died without a word."""
    noted: Mapping[str, Any] = trial.user_attrs.get("failure", {})
    return str(noted["said"]) if noted.get("trial") == trial.number else ""


def may_be_alive(trial: FrozenTrial) -> bool:
    """Whether a trial that runs has a worker. False only if it is certain that it has none: a claim that nobody signed
    was cut short, since signing is done under the lock."""
    worker: Mapping[str, Any] = trial.user_attrs.get("worker", {})
    is_signed = worker.get("trial") == trial.number  # and not by the worker of the trial that this one repeats
    return is_signed and may_be_running(worker)


@contextmanager
def open_study(address: Address) -> Iterator[SharedStudy]:
    """A study that exists, under its lock."""
    with address.locked():
        yield SharedStudy(address)

"""What the drivers of studies ask of whatever launches their runs: local processes, or the jobs of a cluster.

A driver collects workers with `start`, and looks at them with `poll`. What a worker did is read from the folders of its
study: a launcher only says that it has ended, and how.
"""

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias

from rnnlab.errors import ConfigError, DataError, RnnlabError, RunHeldError, StorageError
from rnnlab.safe_text import printable

Job: TypeAlias = Mapping[str, Any]
Check = Callable[[], None]  # raises Stopped if a signal has come
Task = Callable[[Job, Check], None]  # what a worker does with a job: a function of a module

ERRORS: dict[int, type[RnnlabError]] = {e.exit_code: e for e in (ConfigError, DataError, StorageError, RunHeldError)}
"""What a worker's exit code says, where the next worker would most likely meet the same."""

LAST_WORDS = 10_000  # [bytes] at the end of a log that are looked at
MOST_SHOWN = 500  # [characters] of the last line


class Launcher(Protocol):
    """The workers of a study. A block of `with` holds it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: Any) -> None: ...

    @property
    def free(self) -> int:
        """How many more may be started now."""

    @property
    def busy(self) -> int:
        """How many were started and have not ended."""

    def workers(self) -> list[Mapping[str, Any] | None]:
        """The identities of the busy ones, see `process_identity`; None for one that does not run yet."""

    def start(self, task: Task, job: Job) -> None:
        """Let a new worker do the task with the job; there must be a free place."""

    def poll(self) -> list["WorkerExit"]:
        """The workers that have ended since the last call.

        Raises: Stopped on SIGINT or SIGTERM; Detached if nobody is to wait for them; ConfigError, StorageError or
            RnnlabError if none can start.
        """

    def stop(self, patience: float) -> None:
        """Ask every worker to save and stop, and wait for them, at most `patience` [s]."""


class Detached(Exception):
    """Every worker was handed over to a cluster, and nobody is to wait for them here."""


def named(task: Task) -> str:
    """A task by its name, for another process: see `pkgutil.resolve_name`."""
    return f"{task.__module__}:{task.__name__}"


@dataclass(frozen=True)
class WorkerExit:
    """A worker that has ended.

    Attributes:
        job: what it was given.
        code: its exit code, negative if a signal ended it.
        log: what it wrote.
        log_start: where its part of the log begins [bytes].
        worker: what it is called.
        gone: whether nobody knows how it ended; the code is then a guess.
    """

    job: Job
    code: int
    log: Path
    log_start: int = 0
    worker: str = "a worker"
    gone: bool = False

    @property
    def was_killed(self) -> bool:
        """By a signal, or asked by one to stop."""
        return self.code < 0 or self.code > 128

    def __str__(self) -> str:
        """How it ended, with the last line that it wrote."""
        how = f"was killed by {_name_of_signal(-self.code)}" if self.code < 0 else f"exited with {self.code}"
        how = "ended without a word" if self.gone else how
        try:
            words = self._last_line().removeprefix("rnnlab: ").removeprefix("error: ")
        except OSError as error:
            words = f"its log cannot be read: {(error.strerror or str(error)).lower()}"
        return f"{self.worker} {how}{words and f': {words}'} (log: {self.log})"

    def _last_line(self) -> str:
        """Of what it wrote; empty if that is nothing. Raises: OSError."""
        from rnnlab.config.values import shorten  # imports torch, for which a job does not wait before it has begun

        with self.log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self.log_start, end - LAST_WORDS))
            lines = map(printable, file.read().decode(errors="replace").splitlines())
        return shorten(next(filter(str.strip, reversed(list(lines))), ""), MOST_SHOWN)


def _name_of_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the realtime signals, which have no names
        return f"signal {number}"

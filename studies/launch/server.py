"""The parent's side of a server, `rnnlab.studies.launch.worker`: it is told jobs, and tells how their workers stand."""

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rnnlab.storage.durable import storage_errors
from rnnlab.studies.launch.launcher import Job
from rnnlab.studies.launch.process import may_be_running

Place = int  # of a pool, by which its server tells its workers apart


class Server:
    """A process that forks the workers of a pool, and then of the next: `server_for` and `keep`.

    Attributes:
        workers: the identity of the worker of each place that has one, once the server has said so.
        codes: the exit code of a worker that has ended, until it is taken.
        code: that of the server; None as long as it runs.
        has_served: whether it ever forked a worker.
        log: what it says itself goes there.
        log_start: where that begins [bytes].
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        """Args:
            environment: what it and its workers have beside our own.
            log: what it says itself goes there.
        Raises: StorageError if the log cannot be written, or no process can be started.
        """
        self.workers: dict[Place, Mapping[str, Any]] = {}
        self.codes: dict[Place, int] = {}
        self.code: int | None = None
        self.has_served = False
        self._variables, self._folder = _variables(environment), _folder()
        self._unread = b""  # the beginning of a line that the server has not ended
        with storage_errors(f"{log}: cannot be written"):
            log.parent.mkdir(parents=True, exist_ok=True)
            told = log.open("ab")
        with told, storage_errors("a worker's process cannot be started"):
            self.log, self.log_start = log, told.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rnnlab.studies.launch.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=told,
                env=self._variables,
                start_new_session=True,  # Ctrl-C reaches the parent, which stops its workers
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders, self._reports = self._process.stdin, self._process.stdout
        os.set_blocking(self._reports.fileno(), False)

    def start(self, place: Place, log: Path, job: Job) -> None:
        """Let it fork a worker, which writes to the log."""
        self.workers.pop(place, None)
        self._order(place=place, log=str(log.absolute()), job=dict(job))

    def serves(self, environment: Mapping[str, str]) -> bool:
        """Whether a new one in this environment would be the same, and it runs."""
        return self.is_alive() and (self._variables, self._folder) == (_variables(environment), _folder())

    def turn_to(self, log: Path) -> None:
        """What it says from now on goes to this log. Raises: StorageError if that cannot be written."""
        with storage_errors(f"{log}: cannot be written"):
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as told:
                self.log, self.log_start = log, told.tell()
        self._order(log=str(log.absolute()))

    def _order(self, **order: Any) -> None:
        with suppress(BrokenPipeError):  # it died; look() will see
            self._orders.write(json.dumps(order).encode() + b"\n")
            self._orders.flush()

    def look(self) -> None:
        """Read what it has said, and see whether it has ended."""
        if self.code is not None:
            return
        died = self._process.poll()  # before reading: what it said last is not lost
        self._unread += self._reports.read() or b""
        *lines, self._unread = self._unread.split(b"\n")
        for facts in map(json.loads, lines):
            self.has_served = True
            if "code" in facts:
                self.codes[facts["place"]] = facts["code"]
            else:
                self.workers[facts["place"]] = facts["worker"]
        if died is not None:
            self.code = died
            self.close()
            self._reports.close()

    def still_works(self, place: Place) -> bool:
        """Whether a worker runs: once its server has died, it saves, and holds its run until it is through."""
        return place in self.workers and may_be_running(self.workers[place])

    def close(self) -> None:
        """Tell it that we are gone: it asks its workers to save, waits for them, and ends."""
        with suppress(BrokenPipeError):
            self._orders.close()

    def wait(self, until: float) -> None:
        """Until it and its workers have ended; at the time `until` [s, monotonic] they are killed."""
        while (running := self.is_alive() or any(map(self.still_works, self.workers))) and time.monotonic() < until:
            time.sleep(0.02)
        if running:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.look()

    def is_alive(self) -> bool:
        """Whether the process runs."""
        self.look()
        return self.code is None


_kept: list[Server] = []  # those without workers, which the next study of this process need not wait for


def server_for(environment: Mapping[str, str], log: Path) -> Server:
    """One that was kept, or a new one; arguments and errors are those of Server."""
    kept = next((server for server in _kept if server.serves(environment)), None)
    if kept is None:
        end_kept()  # what the environment was is not what it is now
        return Server(environment, log)
    kept.turn_to(log)
    _kept.remove(kept)
    return kept


def keep(server: Server) -> None:
    """For the next study of this process; it must have no workers."""
    server.workers.clear()
    _kept.append(server)


@atexit.register
def end_kept() -> None:
    """End those that were kept."""
    while _kept:
        server = _kept.pop()
        server.close()
        server.wait(time.monotonic() + 5.0)


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    """All that a server has, but for what pytest tells anew for each test."""
    return {name: value for name, value in {**os.environ, **environment}.items() if name != "PYTEST_CURRENT_TEST"}


def _folder() -> Path | None:
    """The one we work in, if it is still there."""
    try:
        return Path.cwd()
    except OSError:
        return None

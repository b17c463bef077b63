"""The worker processes of a study. Each has one thread or one GPU, and stops when its parent is gone.

A server that has imported everything forks a worker for each job, so that a trial of a second does not wait two for
torch, and 64 workers share the memory that it takes. There is one for all slots that have the same environment. It
computes nothing itself: a fork of it has no threads and no configuration to inherit.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from rnnlab.errors import ConfigError, RnnlabError, Stopped
from rnnlab.interrupts import Interrupts
from rnnlab.storage.durable import storage_errors
from rnnlab.studies.launch.launcher import Job, Task, WorkerExit, named
from rnnlab.studies.launch.server import Place, Server, keep, server_for

LOGS = "logs"

PATIENCE = 120.0  # [s] that a worker gets to save before it is killed
MOST_WORKERS = 1000  # of one study on one machine


def worker_environments(workers: int | None, device: torch.device) -> list[dict[str, str]]:
    """What the environment of each worker holds beside our own.

    Args:
        workers: how many; None for one a GPU where the runs train on GPUs, else one a core.
    Raises: ConfigError if it is less than one, or more than one machine can have.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers {workers}: at least one is needed")
    if workers is not None and workers > MOST_WORKERS:
        raise ConfigError(f"--workers {workers}: at most {MOST_WORKERS:,}, better one a core or a GPU")
    shared = {"OMP_NUM_THREADS": "1"}
    if device.type != "cuda":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return [shared] * (workers or cores)
    if device.index is not None:  # of the devices that are visible here: a worker has to see the same ones
        return [shared] * (workers or 1)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    return [{**shared, "CUDA_VISIBLE_DEVICES": names[i % len(names)]} for i in range(workers or len(names))]


@dataclass
class Slot:
    """A place for one worker at a time.

    Attributes:
        environment: of its workers, beside our own.
        log: what they write.
        server: the one that forked the last of them.
        job: what the worker does that it has now.
    """

    place: Place
    environment: Mapping[str, str]
    log: Path
    server: Server | None = None
    job: Job | None = None
    _log_start: int = 0

    def start(self, job: Job, server: Server) -> None:
        """Raises: StorageError if its log cannot be written."""
        self.server = server  # first, so that a pool which cannot go on ends it
        with storage_errors(f"{self.log}: cannot be written"), self.log.open("ab") as log:
            self._log_start = log.tell()
        self.job = job
        server.start(self.place, self.log, job)

    @property
    def worker(self) -> Mapping[str, Any] | None:
        """The identity of its worker, once the server has said so."""
        return self.server.workers.get(self.place) if self.server is not None else None

    def poll(self) -> WorkerExit | None:
        """How the worker ended, if it has. Raises: RnnlabError if a server ends before it has started any."""
        if self.server is None or self.job is None:
            return None
        self.server.look()
        died, code = self.server.code, self.server.codes.pop(self.place, None)
        if code is None:
            if died is None or self.server.still_works(self.place):
                return None
            if died > 0 and not self.server.has_served:
                how = WorkerExit(self.job, died, self.server.log, self.server.log_start)
                raise RnnlabError(f"no worker can be started; {how}")
            code = died or 1
        ended, self.job = WorkerExit(self.job, code, self.log, self._log_start), None
        return ended


class Pool:
    """The workers of a study, at most one a slot. Leaving the block stops those that run."""

    def __init__(self, environments: Sequence[Mapping[str, str]], study: Path) -> None:
        self._study, self._interrupts = study, Interrupts()
        self._slots = [
            Slot(place, variables, study / LOGS / f"worker-{place}.log") for place, variables in enumerate(environments)
        ]

    def __enter__(self) -> Self:
        self._interrupts.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.stop()
        self._interrupts.__exit__(*error)

    @property
    def free(self) -> int:
        return sum(slot.job is None for slot in self._slots)

    @property
    def busy(self) -> int:
        return len(self._slots) - self.free

    def workers(self) -> list[Mapping[str, Any] | None]:
        """The identities of the workers that run, see `process_identity`; None for one that is just starting."""
        return [slot.worker for slot in self._slots if slot.job is not None]

    def start(self, task: Task, job: Job) -> None:
        """Let a new worker do the task with the job; there must be a free slot.

        Raises: StorageError if its log cannot be written, or no process can be started.
        """
        free = next(slot for slot in self._slots if slot.job is None)
        free.start({**job, "task": named(task)}, self._server_for(free))

    def poll(self) -> list[WorkerExit]:
        """The workers that have ended since the last call.

        Raises: Stopped on SIGINT or SIGTERM, once every worker has saved and stopped; RnnlabError if none can start.
        """
        if self._interrupts.received is not None:
            self.stop()
            raise Stopped(self._interrupts.received, f"; the same command goes on with {self._study}")
        return [ended for slot in self._slots if (ended := slot.poll()) is not None]

    def stop(self, patience: float = PATIENCE) -> None:
        """Ask every worker to save and stop, and wait for them, at most `patience` [s].

        A server whose workers have all ended is kept for the next study.
        """
        self._keep_servers()
        servers = self._servers()
        for server in servers:
            server.close()
        until = time.monotonic() + patience
        for server in servers:
            server.wait(until)

    def _keep_servers(self) -> None:
        """Those that run and have no work are for the next pool."""
        working = [slot.server for slot in self._slots if slot.job is not None]
        for server in self._servers():
            if server not in working and server.is_alive():
                keep(server)
                for slot in self._slots:
                    slot.server = None if slot.server is server else slot.server

    def _servers(self) -> list[Server]:
        """Each once."""
        return list({id(slot.server): slot.server for slot in self._slots if slot.server is not None}.values())

    def _server_for(self, slot: Slot) -> Server:
        """One that runs, of the slot's environment. Raises: StorageError."""
        for other in self._slots:
            if other.environment == slot.environment and other.server is not None and other.server.is_alive():
                return other.server
        return server_for(slot.environment, slot.log)

"""The worker processes of a study. Each has one thread or one GPU, and stops when its parent is gone.

A slot keeps a server that has imported everything and forks a worker for each job, so that a trial of a second does not
wait two for torch. The server computes nothing itself: a fork of it has no threads and no configuration to inherit.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

import torch

from rnnlab.errors import ConfigError, RnnlabError, Stopped
from rnnlab.interrupts import Interrupts
from rnnlab.storage.durable import storage_errors
from rnnlab.studies.launch.launcher import Job, Task, WorkerExit, named
from rnnlab.studies.launch.process import may_be_running

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


class Slot:
    """A server, and the worker that it has forked."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment, self._log = environment, log
        self._server: subprocess.Popen[bytes] | None = None
        self._unread = b""  # the beginning of a line that the server has not ended
        self._has_served = False
        self._log_start = 0
        self.job: Job | None = None
        self.worker: Mapping[str, Any] | None = None  # its identity, once the server has said so

    def start(self, job: Job) -> None:
        """Raises: StorageError if its log cannot be written, or no process can be started."""
        with storage_errors(f"{self._log}: cannot be written"):
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("ab") as log:
                self._log_start = log.tell()
                if self._server is None:
                    self._server = self._start_server(log)
        self.job, self.worker = job, None
        assert self._server.stdin is not None
        with suppress(BrokenPipeError):  # it died; poll() will see
            self._server.stdin.write(json.dumps(job).encode() + b"\n")
            self._server.stdin.flush()

    def _start_server(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        with storage_errors("a worker's process cannot be started"):
            server = subprocess.Popen(
                [sys.executable, "-m", "rnnlab.studies.launch.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **self._environment},
                start_new_session=True,  # Ctrl-C reaches the parent, which stops its workers
            )
        assert server.stdout is not None
        os.set_blocking(server.stdout.fileno(), False)
        self._unread, self._has_served = b"", False
        return server

    def poll(self) -> WorkerExit | None:
        """How the worker ended, if it has. Raises: RnnlabError if a server ends before it has started any."""
        if self._server is None or self.job is None:
            return None
        died = self._server.poll()  # before reading: what it said last is not lost
        code = self._read()
        if code is None and (died is None or self._has_orphan()):
            return None
        ended = WorkerExit(self.job, (died or 1) if code is None else code, self._log, self._log_start)
        if died is not None:
            self._forget()
            if died > 0 and not self._has_served:
                raise RnnlabError(f"no worker can be started; {ended}")
        self.job = self.worker = None
        return ended

    def _read(self) -> int | None:
        """Read what the server has said: who its worker is, and with which code it ended, if it has."""
        assert self._server is not None
        assert self._server.stdout is not None
        self._unread += self._server.stdout.read() or b""
        *lines, self._unread = self._unread.split(b"\n")
        code: int | None = None
        for facts in map(json.loads, lines):
            self._has_served = True
            if "code" in facts:
                code = facts["code"]
            else:
                self.worker = facts
        return code

    def _has_orphan(self) -> bool:
        """Whether the worker still runs: once its server has died, it saves, and holds its run until it is through."""
        return self.worker is not None and may_be_running(self.worker)

    def _forget(self) -> None:
        """Let go of a server that has ended."""
        assert self._server is not None
        assert self._server.stdout is not None
        self.close()
        self._server.stdout.close()
        self._server = None

    def close(self) -> None:
        """Tell the server that we are gone: it asks its worker to save, waits for it, and ends."""
        if self._server is not None and self._server.stdin is not None:
            with suppress(BrokenPipeError):
                self._server.stdin.close()

    def wait(self, until: float) -> None:
        """Until the server has ended; at the time `until` [s, monotonic] it and its worker are killed."""
        if self._server is None:
            return
        while (running := self._server.poll() is None or self._has_orphan()) and time.monotonic() < until:
            time.sleep(0.02)
        if running:
            with suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()
        self._forget()


class Pool:
    """The workers of a study, at most one a slot. Leaving the block stops those that run."""

    def __init__(self, environments: Sequence[Mapping[str, str]], study: Path) -> None:
        self._study, self._interrupts = study, Interrupts()
        self._slots = [Slot(variables, study / LOGS / f"worker-{i}.log") for i, variables in enumerate(environments)]

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
        """Let a new worker do the task with the job; there must be a free slot."""
        free = next(slot for slot in self._slots if slot.job is None)
        free.start({**job, "task": named(task)})

    def poll(self) -> list[WorkerExit]:
        """The workers that have ended since the last call.

        Raises: Stopped on SIGINT or SIGTERM, once every worker has saved and stopped; RnnlabError if none can start.
        """
        if self._interrupts.received is not None:
            self.stop()
            raise Stopped(self._interrupts.received, f"; the same command goes on with {self._study}")
        return [ended for slot in self._slots if (ended := slot.poll()) is not None]

    def stop(self, patience: float = PATIENCE) -> None:
        """Ask every worker to save and stop, and wait for them, at most `patience` [s]."""
        for slot in self._slots:
            slot.close()
        until = time.monotonic() + patience
        for slot in self._slots:
            slot.wait(until)

"""The processes of a study: each with one thread, or with one GPU of its own, stopping when its parent is gone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from rnnlab.durable import storage_errors
from rnnlab.errors import ConfigError, DataError, RnnlabError, RunHeldError, StorageError

Job = Mapping[str, Any]

ERRORS: dict[int, type[RnnlabError]] = {
    kind.exit_code: kind for kind in (ConfigError, DataError, StorageError, RunHeldError)
}
"""What a worker's exit code says, where the next worker would most likely meet the same."""

PATIENCE = 120.0  # [s] that a worker gets to save before it is killed


def slots(workers: int | None, device: torch.device) -> list[dict[str, str]]:
    """What the environment of each worker holds.

    Args:
        workers: how many; None for one a GPU where the runs train on GPUs, else one a core.
    Raises: ConfigError if it is less than one.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers {workers}: at least one is needed")
    if device.type != "cuda":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return [{} for _ in range(workers or cores)]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    if device.index is not None:
        names = [names[device.index]]
    return [{"CUDA_VISIBLE_DEVICES": names[i % len(names)]} for i in range(workers or len(names))]


@dataclass
class Worker:
    """One process and the job it was given."""

    job: Job
    slot: int
    process: subprocess.Popen[bytes]
    log: Path
    log_start: int  # [bytes] of the log that were there before

    @property
    def pid(self) -> int:
        return self.process.pid

    def last_words(self) -> str:
        """The last line that it wrote on standard error; empty if there is none."""
        with self.log.open("rb") as file:
            file.seek(self.log_start)
            lines = file.read().decode(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("rnnlab: ").removeprefix("error: ") if lines else ""

    def how_it_ended(self) -> str:
        code = self.process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        return f"a worker {how}" + (f": {words}" if (words := self.last_words()) else "") + f" (log: {self.log})"


class Pool:
    """At most one worker a slot. Leaving the block stops those that run."""

    def __init__(self, environments: Sequence[Mapping[str, str]], logs: Path) -> None:
        self._environments, self._logs = environments, logs
        self.workers: list[Worker] = []

    def __enter__(self) -> Self:
        with storage_errors(f"{self._logs}: cannot be made"):
            self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def free(self) -> int:
        return len(self._environments) - len(self.workers)

    def start(self, job: Job) -> Worker:
        """Give the job to a new process; there must be a free slot."""
        slot = min(set(range(len(self._environments))) - {worker.slot for worker in self.workers})
        log = self._logs / f"worker-{slot}.log"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **self._environments[slot]}
        with storage_errors(f"{log}: cannot be written"), log.open("ab") as out:
            start = out.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", "rnnlab.studies._worker"],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the parent, which stops its workers
            )
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it died at once; poll() will see
            process.stdin.write(json.dumps(job).encode() + b"\n")  # and is left open: its end tells that we are gone
            process.stdin.flush()
        worker = Worker(job, slot, process, log, start)
        self.workers.append(worker)
        return worker

    def poll(self) -> list[Worker]:
        """Those that ended since, which leave the pool."""
        ended = [worker for worker in self.workers if worker.process.poll() is not None]
        self._forget(ended)
        return ended

    def stop(self) -> list[Worker]:
        """Ask every worker to save and stop, wait for them, and return them."""
        for worker in self.workers:
            worker.process.terminate()
        until = time.monotonic() + PATIENCE
        for worker in self.workers:
            try:
                worker.process.wait(timeout=max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        stopped = list(self.workers)
        self._forget(stopped)
        return stopped

    def _forget(self, ended: Sequence[Worker]) -> None:
        for worker in ended:
            assert worker.process.stdin is not None
            with suppress(BrokenPipeError):
                worker.process.stdin.close()
            self.workers.remove(worker)

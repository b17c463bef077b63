"""The server of a slot: `python -m rnnlab.studies.launch.worker`, jobs as lines of JSON on standard input.

For each job the server forks a worker, which calls the function that the job names as "task". The server writes the
worker's identity (`rnnlab.studies.launch.process`), and once it has ended {"code": N}, on standard output. Standard
input stays open as long as the parent lives; at its end the worker is asked to save and stop.
"""

import json
import os
import pkgutil
import select
import signal
import sys
import threading
import time
from typing import Any

import rnnlab.config
import rnnlab.views.board  # the server imports what its workers need, once for all of them
from rnnlab.console import prepare_streams
from rnnlab.interrupts import Interrupts
from rnnlab.studies.launch.launcher import Job, Task
from rnnlab.studies.launch.process import process_identity
from rnnlab.studies.launch.task import do


def serve() -> None:
    """Until standard input ends."""
    prepare_streams()
    server, reports = os.getpid(), os.dup(1)
    os.dup2(2, 1)  # what is printed, by parts that are imported too, goes to the log
    rnnlab.config.resolve(["sha_rnn"])  # imports the parts
    sys.stdout.flush()  # or every fork would print it once more
    while line := sys.stdin.readline():
        job = json.loads(line)
        task: Task = pkgutil.resolve_name(job["task"])
        worker = os.fork()
        if worker == 0:
            os.close(reports)
            os._exit(_work(task, job, server))
        _write(reports, **process_identity(worker))
        _write(reports, code=_wait_for(worker))


def _wait_for(worker: int) -> int:
    """Wait for the worker, and stop it if the parent is gone."""
    orphaned = False
    while True:
        found, status = os.waitpid(worker, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if orphaned or select.select([0], [], [], 0.02)[0]:  # no job comes while there is a worker: it is the end
            orphaned = True
            os.kill(worker, signal.SIGTERM)  # again and again, as the first may come before it is heard
            time.sleep(0.1)


def _write(reports: int, **facts: Any) -> None:
    try:
        os.write(reports, json.dumps(facts).encode() + b"\n")
    except BrokenPipeError:
        raise SystemExit from None


def _work(task: Task, job: Job, server: int) -> int:
    """Do the job, in the fork, and return the exit code of the command line, see `rnnlab.errors`."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with Interrupts() as interrupts:
        threading.Thread(target=_stop_with, args=[server], daemon=True).start()
        return do(task, job, interrupts.check)


def _stop_with(server: int) -> None:
    """Ask ourselves to stop once the server is gone."""
    while os.getppid() == server:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    serve()

"""The server of a pool's workers: `python -m rnnlab.studies.launch.worker`, see `rnnlab.studies.launch.server`.

A line of JSON on standard input is an order: {"place": I, "log": FILE, "job": JOB}. The server forks a worker, which
calls the function that the job names as "task". It writes {"place": I, "worker": IDENTITY}, see
`rnnlab.studies.launch.process`, and once the worker has ended {"place": I, "code": N}, on standard output. An order
without a job names the log of what the server says itself. Standard input stays open as long as the parent lives; at
its end the workers are asked to save and stop.
"""

import json
import os
import pkgutil
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import rnnlab.config
import rnnlab.views.board  # the server imports what its workers need, once for all of them
from rnnlab.console import prepare_streams
from rnnlab.interrupts import Interrupts
from rnnlab.studies.launch.launcher import Job, Task
from rnnlab.studies.launch.process import process_identity
from rnnlab.studies.launch.task import do

POLL = 0.02  # [s] between two looks at the workers


def serve() -> None:
    """Until standard input ends, and then until the workers do."""
    prepare_streams()
    server, reports = os.getpid(), os.dup(1)
    os.dup2(2, 1)  # what is printed, by parts that are imported too, goes to the log
    rnnlab.config.resolve(["sha_rnn"])  # imports the parts
    sys.stdout.flush()  # or every fork would print it once more
    workers: dict[int, int] = {}  # place of each, by its process
    unread, is_orphaned = b"", False
    while workers or not is_orphaned:
        if is_orphaned:
            for pid in workers:
                os.kill(pid, signal.SIGTERM)  # again and again, as the first may come before it is heard
            time.sleep(0.1)
        elif select.select([0], [], [], POLL if workers else None)[0]:
            read = os.read(0, 1 << 16)
            is_orphaned = not read
            *lines, unread = (unread + read).split(b"\n")
            for order in map(json.loads, lines):
                if "job" not in order:
                    _write_to(order["log"])
                    continue
                task: Task = pkgutil.resolve_name(order["job"]["task"])
                worker = os.fork()
                if worker == 0:
                    os.close(reports)
                    os._exit(_work(task, order["job"], order["log"], server))
                workers[worker] = order["place"]
                _write(reports, place=order["place"], worker=process_identity(worker))
        for pid in list(workers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                _write(reports, place=workers.pop(pid), code=os.waitstatus_to_exitcode(status))


def _write(reports: int, **facts: Any) -> None:
    with suppress(BrokenPipeError):  # nobody reads: the input has ended as well
        os.write(reports, json.dumps(facts).encode() + b"\n")


def _work(task: Task, job: Job, log: str, server: int) -> int:
    """Do the job, in the fork, and return the exit code of the command line, see `rnnlab.errors`."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with Interrupts() as interrupts:
        threading.Thread(target=_stop_with, args=[server], daemon=True).start()
        _write_to(log)
        return do(task, job, interrupts.check)


def _write_to(log: str) -> None:
    """What is printed goes to this file; where that cannot be written, to the one it went to before."""
    with suppress(OSError):
        own = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.dup2(own, 1)
        os.dup2(own, 2)
        os.close(own)


def _stop_with(server: int) -> None:
    """Ask ourselves to stop once the server is gone."""
    while os.getppid() == server:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    serve()

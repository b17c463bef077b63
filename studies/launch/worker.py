"""The server of a slot: `python -m rnnlab.studies.launch.worker`, jobs as lines of JSON on standard input.

For each it forks a worker, says {"pid": N}, and once that has ended {"code": N}, on standard output. Standard input
stays open as long as the parent lives; at its end the worker is asked to save and stop.
"""

import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import rnnlab.config
import rnnlab.studies.cells
import rnnlab.studies.search.objective
import rnnlab.views.board
from rnnlab.errors import RnnlabError
from rnnlab.interrupts import Interrupts
from rnnlab.studies.search.database import Lost, quietly

Check = Callable[[], None]


def serve() -> None:
    """Until standard input ends."""
    rnnlab.config.resolve(["sha_rnn"])  # imports the parts
    while (job := _read_job()) is not None:
        worker = os.fork()
        if worker == 0:
            os._exit(_work(job))
        _say(pid=worker)
        _say(code=_see_through(worker))


def _see_through(worker: int) -> int:
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


def _read_job() -> dict[str, Any] | None:
    line = sys.stdin.readline()
    return json.loads(line) if line else None


def _say(**news: int) -> None:
    try:
        os.write(1, json.dumps(news).encode() + b"\n")
    except BrokenPipeError:
        raise SystemExit from None


def _work(job: dict[str, Any]) -> int:
    """Do the job, in the fork, and return the exit code of the command line, see `rnnlab.errors`."""
    server = os.getppid()
    os.dup2(2, 1)  # what is printed goes to the log
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        with Interrupts() as interrupts:
            threading.Thread(target=_stop_with, args=[server], daemon=True).start()
            _do(job, interrupts.check)
            code = 0
    except RnnlabError as error:
        print(f"rnnlab: error: {error}", file=sys.stderr)
        code = error.exit_code
    except Lost:
        print("rnnlab: another worker has taken over the trial", file=sys.stderr)
        code = 0
    except BaseException as error:
        traceback.print_exc()
        print(f"rnnlab: error: {type(error).__name__}: {error}", file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _do(job: dict[str, Any], check: Check) -> None:
    quietly()
    check()
    if job["kind"] == "cell":
        rnnlab.studies.cells.run_cell(job)
    elif job["kind"] == "trial":
        rnnlab.studies.search.objective.run_trial(job, check)
    else:
        rnnlab.studies.search.objective.run_candidate(job, check)


def _stop_with(server: int) -> None:
    """Ask ourselves to stop once the server is gone."""
    while os.getppid() == server:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    serve()

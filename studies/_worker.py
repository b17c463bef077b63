"""A worker of a study: `python -m rnnlab.studies._worker`, with its job as one line of JSON on standard input.

Standard input stays open as long as the parent lives; at its end the worker saves and stops.
"""

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from rnnlab.errors import RnnlabError
from rnnlab.interrupts import Interrupts


def main() -> int:
    """Do the job and return the exit code of the command line, see `rnnlab.errors`."""
    job = _read_job()
    with Interrupts() as interrupts:
        threading.Thread(target=_stop_with_the_parent, daemon=True).start()
        try:
            _do(job, interrupts.check)
        except RnnlabError as error:
            print(f"rnnlab: error: {error}", file=sys.stderr)
            return error.exit_code
        except Exception as error:
            traceback.print_exc()
            print(f"rnnlab: error: {type(error).__name__}: {error}", file=sys.stderr)
            return 1
    return 0


def _do(job: dict[str, Any], check: Callable[[], None]) -> None:
    check()
    if job["kind"] == "cell":
        from rnnlab.studies.cells import run_cell

        run_cell(job)
        return
    from rnnlab.studies.ledger import Lost, quietly
    from rnnlab.studies.trials import run_candidate, run_trial

    quietly()
    try:
        {"trial": run_trial, "candidate": run_candidate}[job["kind"]](job, check)
    except Lost:
        print("rnnlab: another worker has taken over the trial", file=sys.stderr)


def _read_job() -> dict[str, Any]:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)  # unbuffered: the thread that waits for the end must not hold a lock as Python exits
        if not byte:
            raise SystemExit("rnnlab: error: a worker is started by `rnnlab search` and `rnnlab ablate`")
        line += byte
    job: dict[str, Any] = json.loads(line)
    return job


def _stop_with_the_parent() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())

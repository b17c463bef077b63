"""The process of a job: `python -m rnnlab.studies.launch.slurm.element ARRAY`, at the end of the script of an array.

It does what its line in the array's jobs.jsonl says, and keeps a diary beside it. Asked by SIGUSR1, which SLURM sends
before the time limit, it saves and has itself put back into the queue. At SIGTERM it saves: whether it starts again is
up to SLURM, which has preempted it, or to the command of the study, if the job was cancelled.
"""

import os
import pkgutil
import resource
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rnnlab.interrupts import Interrupts

HELD = 180.0  # [s] that it waits for a run that another process holds: the lock of a node that died outlives it
POLL = 5.0  # [s]
ASKED_TO_REQUEUE = 128 + signal.SIGUSR1


def main() -> int:
    """The exit code of the job."""
    with Interrupts() as interrupts:  # before anything heavy is imported, which takes seconds
        from rnnlab.console import prepare_streams, say
        from rnnlab.studies.launch.slurm.arrays import read_array
        from rnnlab.studies.launch.slurm.diary import MOST_DEATHS, MOST_REQUEUES, read_diary, write_end, write_start

        prepare_streams()
        began = time.monotonic()
        array, index = Path(sys.argv[1]), int(os.environ["SLURM_ARRAY_TASK_ID"])
        element = read_array(array)[index]
        # not SLURM_JOB_ID: that of the last element is the id of the array, and `scontrol requeue` would take all of it
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{index}"
        before = read_diary(element.diary)
        write_start(element.diary, job)
        if before.deaths >= MOST_DEATHS:
            say(f"error: its process died {before.deaths} times without a word, so it is not tried again")
            code = 1
        elif before.requeues >= MOST_REQUEUES:
            say(f"error: {before.requeues:,} time limits were too short for it; ask for a longer one")
            code = 1
        else:
            code = _work(element.job, interrupts)
        requeue = code == ASKED_TO_REQUEUE
        write_end(element.diary, code, time.monotonic() - began, _peak(), requeue)
        if requeue:
            _requeue(job)
    return code


def _work(job: Mapping[str, object], interrupts: Interrupts) -> int:
    """Do the job. If another process holds the run it waits, as that one may have died on another node."""
    from rnnlab.errors import RunHeldError
    from rnnlab.studies.launch.launcher import Check, Job
    from rnnlab.studies.launch.task import do

    def found_task(job: Job, check: Check) -> None:
        pkgutil.resolve_name(job["task"])(job, check)

    until = time.monotonic() + HELD
    while (code := do(found_task, job, interrupts.check)) == RunHeldError.exit_code and time.monotonic() < until:
        time.sleep(POLL)
    return code


def _requeue(job: str) -> None:
    """Back into the queue. Should SLURM not do it, the element leaves the queue, and whoever waits submits it anew."""
    from rnnlab.console import say
    from rnnlab.studies.launch.slurm import programs

    say("the time limit is near: saved, and back into the queue")
    with Interrupts() as asked:  # SLURM does it by a SIGTERM to all processes of the job, scontrol among them
        while asked.received is None:
            try:
                programs.call("scontrol", "requeue", job)
                return
            except programs.Unreachable:
                time.sleep(POLL)  # until the limit ends it
            except programs.Refused as words:
                if asked.received is None:
                    say(f"SLURM does not put the job back into the queue: {words}")
                return


def _peak() -> float:
    """The most memory that this process has taken [MiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())

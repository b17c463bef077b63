"""The workers of a study as elements of job arrays. The command may die: the jobs go on, and the next one finds them.

start() only collects; poll() looks at the queue, adopts elements of earlier commands that have the same job, and
submits one array for the others.
"""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from rnnlab.console import say
from rnnlab.errors import Stopped
from rnnlab.interrupts import Interrupts
from rnnlab.studies.launch.launcher import Detached, Job, Task, WorkerExit, named
from rnnlab.studies.launch.slurm import programs
from rnnlab.studies.launch.slurm.arrays import Element, absolute, read_arrays, same, write_array
from rnnlab.studies.launch.slurm.diary import GONE, ended_with, read_diary
from rnnlab.studies.launch.slurm.queue import Queue, name_of_jobs
from rnnlab.studies.launch.slurm.request import SlurmRequest
from rnnlab.studies.launch.slurm.submission import most_elements, refusal, script_of, submit

MOST_BUSY = 100_000  # elements of one study
GONE_AFTER = 2  # listings in a row in which an element is missing before it counts as gone


class SlurmPool:
    """See `rnnlab.studies.launch.launcher.Launcher`."""

    def __init__(self, study: Path, request: SlurmRequest) -> None:
        self._study, self._request, self._interrupts = study, request, Interrupts()
        self.name = name_of_jobs(study)
        self._queue = Queue(self.name)
        self._collected: list[Job] = []
        self._jobs: dict[Element, Job] = {}  # the elements that we wait for, with the jobs as they were given
        self._missing: dict[Element, int] = {}
        self._submitted = 0.0  # when sbatch last answered [s, monotonic]
        self._unlisted: list[str] = []  # ids of arrays that were submitted since the newest listing
        self._most: int | None = None  # elements of an array
        self._most_now: int | None = None  # how many more SLURM takes, once it has refused some

    def __enter__(self) -> Self:
        self._interrupts.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._queue.close()
        self._interrupts.__exit__(*error)
        if self._jobs and not isinstance(error[1], Stopped | Detached):
            say(self._how_it_goes_on())

    @property
    def free(self) -> int:
        return MOST_BUSY - self.busy

    @property
    def busy(self) -> int:
        return len(self._collected) + len(self._jobs)

    def workers(self) -> list[Mapping[str, Any] | None]:
        pending = {key for key, queued in (self._queue.listing or {}).items() if not queued.runs}
        known = [None if one.key in pending else read_diary(one.diary).worker for one in self._jobs]
        return [*known, *[None] * len(self._collected)]

    def start(self, task: Task, job: Job) -> None:
        self._collected.append({**job, "task": named(task)})

    def poll(self) -> list[WorkerExit]:
        """As `Launcher.poll`. On SIGINT or SIGTERM nothing is stopped but the command."""
        if self._interrupts.received is not None:
            raise Stopped(self._interrupts.received, f"; {self._how_it_goes_on()}" if self._jobs else "")
        ended = self._ended() if self._queue.look() else []
        if self._collected and self._queue.answers and self._queue.asked > self._submitted:
            self._adopt()
            self._submit()
        if self._request.detach and self._jobs and not self._collected:
            raise Detached
        return ended

    def stop(self, patience: float) -> None:
        """Cancel what is left; nobody waits for it."""
        if not self._jobs:
            return
        try:
            programs.call("scancel", f"--name={self.name}", patience=patience)
        except (programs.Refused, programs.Unreachable) as words:
            say(f"{len(self._jobs)} jobs are left in the queue: {words}; scancel --name={self.name} ends them")
        self._jobs.clear()

    def _how_it_goes_on(self) -> str:
        jobs = "1 job goes on" if len(self._jobs) == 1 else f"{len(self._jobs):,} jobs go on"
        return (
            f"{jobs} without this command: the same command goes on with them, "
            f"`rnnlab status {self._study}` shows how they stand, scancel --name={self.name} ends them"
        )

    def _ended(self) -> list[WorkerExit]:
        """Those that have ended, by the newest listing, or by their diaries if SLURM does not answer."""
        found = []
        for element, job in list(self._jobs.items()):
            queued = (self._queue.listing or {}).get(element.key)
            if self._queue.answers and self._queue.asked > self._submitted:
                self._missing[element] = 0 if queued is not None else self._missing.get(element, 0) + 1
            if self._queue.answers and queued is not None and not queued.runs:
                continue  # its diary need not be read
            diary = read_diary(element.diary)
            code = ended_with(diary, queued, self._missing.get(element, 0) >= GONE_AFTER)
            if code is not None:
                del self._jobs[element]
                self._missing.pop(element, None)
                name = f"job {diary.job}" if diary.job else f"a job of {element.array.name}"
                found.append(WorkerExit(job, code, element.log, worker=name, gone=code == GONE))
        if self._most_now is not None:
            self._most_now += len(found)  # there is room for as many
        return found

    def _adopt(self) -> None:
        """Take over the elements of earlier commands that have the jobs which were collected."""
        listing = self._queue.listing or {}
        spare: dict[str, list[Element]] = {}
        for element in read_arrays(self._study):
            queued = listing.get(element.key)
            if element in self._jobs or queued is None or queued.state == "COMPLETING":
                continue
            if ended_with(read_diary(element.diary), queued, is_gone=False) is None:
                spare.setdefault(same(element.job), []).append(element)
        left, before = [], len(self._jobs)
        for job in self._collected:
            if matching := spare.get(same(absolute(job))):
                self._jobs[matching.pop(0)] = job
            else:
                left.append(job)
        self._collected = left
        if count := len(self._jobs) - before:
            say(f"{count:,} of its jobs are in the queue already, from before")

    def _submit(self) -> None:
        """Submit what is left, in as many arrays as it takes.

        Raises: ConfigError for a request that SLURM refuses; StorageError.
        """
        if not self._collected:
            return
        self._unlisted = []
        try:
            self._most = self._most or most_elements()
            while self._collected and self._most_now != 0:
                self._submit_some(min(self._most, self._most_now or self._most))
        except programs.Unreachable as words:  # perhaps it was submitted: then the next listing has it
            say(f"SLURM does not answer ({words}); it is tried again")
        self._submitted = time.monotonic()
        self._queue.hurry()

    def _submit_some(self, most: int) -> None:
        jobs = self._collected[:most]
        elements = write_array(self._study, list(map(absolute, jobs)), dict(self._request.options), script_of)
        try:
            number = submit(self._request, self.name, elements[0].script, len(jobs), self._arrays_before())
        except programs.Refused as words:
            shutil.rmtree(elements[0].array, ignore_errors=True)
            if not words.is_for_number or (len(jobs) == 1 and not self._jobs):
                raise refusal(self._request, str(words)) from None
            if self._most_now is None:
                say(f"SLURM takes no more jobs at present ({words}); the others follow")
            self._most_now = len(jobs) // 2
            return
        self._jobs |= dict(zip(elements, jobs, strict=True))
        self._collected = self._collected[most:]
        self._unlisted.append(number)
        say(f"submitted {len(jobs):,} {'run' if len(jobs) == 1 else 'runs'} as job {number} ({self.name})")

    def _arrays_before(self) -> list[str]:
        """What has to end first, so that no more jobs run at a time than were asked for."""
        if self._request.at_a_time is None:
            return []
        listed = {queued.job.partition("_")[0] for queued in (self._queue.listing or {}).values()}
        return sorted({*listed, *self._unlisted}, key=int)

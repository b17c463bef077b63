"""How the jobs of a study stand, for `rnnlab status` and the report: from their diaries and the queue together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from rnnlab.errors import ConfigError
from rnnlab.studies.launch.launcher import WorkerExit
from rnnlab.studies.launch.slurm import programs
from rnnlab.studies.launch.slurm.arrays import FOLDER, Element, read_arrays, read_asked
from rnnlab.studies.launch.slurm.diary import GONE, Diary, ended_with, read_diary
from rnnlab.studies.launch.slurm.queue import Listing, Queued, listed, name_of_jobs
from rnnlab.studies.launch.slurm.request import mebibytes_of, seconds_of
from rnnlab.studies.standing import Standing
from rnnlab.views import numerals
from rnnlab.views.tables import Cell, Column, Table, write

JOBS = "jobs"  # stem of the table's files


@dataclass(frozen=True)
class StudyJobs:
    """The jobs of a study.

    Attributes:
        elements: of all its arrays, the oldest first.
        listing: where they are in the queue; None if that was not asked, or SLURM does not answer.
        unknown: why not, in SLURM's words.
    """

    study: Path
    elements: Sequence[Element]
    listing: Listing | None = None
    unknown: str = ""

    @classmethod
    def of(cls, study: Path) -> Self:
        """Without asking SLURM. Raises: StorageError."""
        return cls(study, read_arrays(study))

    def asked(self) -> Self:
        """With what SLURM says now."""
        if not self.elements:
            return self
        try:
            return replace(self, listing=listed(name_of_jobs(self.study)))
        except (programs.Unreachable, programs.Refused, ConfigError) as words:
            return replace(self, unknown=str(words))

    @cached_property
    def newest(self) -> dict[str, Element]:
        """The last element that was given a run, by the run's folder."""
        return {str(element.job.get("folder")): element for element in self.elements}

    def queued(self, element: Element) -> Queued | None:
        return (self.listing or {}).get(element.key)

    def told(self, run: Standing) -> Standing:
        """How a run stands, with what its job says."""
        element = self.newest.get(str(run.path.absolute()))
        if element is None or run.state in ("done", "diverged"):
            return run
        diary, queued = read_diary(element.diary), self.queued(element)
        run = replace(run, job=queued.job if queued else diary.job, log=str(element.log))
        if queued is not None:
            if queued.runs:
                return replace(run, state="running", by=run.by or f"job {queued.job}")
            lost = run.state in ("running", "interrupted")  # the lock of a node that died outlives it
            return replace(run, state="interrupted" if lost else "waiting", by="")
        code = ended_with(diary, None, is_gone=self.listing is not None)
        if code is None or code == 0:
            return run
        ended = WorkerExit(element.job, code, element.log, worker=f"job {diary.job}", gone=code == GONE)
        return replace(run, state="interrupted" if ended.was_killed and run.step else "failed", by="", said=str(ended))

    def lines(self) -> list[str]:
        """On the queue, for a terminal."""
        if not self.elements:
            return []
        name = name_of_jobs(self.study)
        if self.listing is None:
            return [f"jobs of SLURM ({name}): where they are is not known, {self.unknown}"]
        reasons = Counter(queued.reason for queued in self.listing.values() if not queued.runs)
        counts = Counter(queued.state.lower() for queued in self.listing.values())
        why = f" ({', '.join(f'{count:,} {reason}' for reason, count in reasons.most_common(3))})" if reasons else ""
        shown = ", ".join(f"{count:,} {state}" for state, count in counts.most_common()) or "none in the queue"
        ends = f"; scancel --name={name} ends them" if self.listing else ""
        return [f"jobs of SLURM: {shown}{why}{ends}"]

    def facts(self) -> dict[str, Any]:
        """For programs."""
        if not self.elements:
            return {}
        counts = None if self.listing is None else Counter(queued.state for queued in self.listing.values())
        return {"jobs": {"name": name_of_jobs(self.study), "queue": counts, "unknown": self.unknown}}

    @cached_property
    def diaries(self) -> list[tuple[Element, Diary]]:
        """Of the elements that came to an end."""
        found = [(element, read_diary(element.diary)) for element in self.elements]
        return [(element, diary) for element, diary in found if diary.peak is not None]

    def note(self) -> list[str]:
        """What a job took at most beside what was asked for, so that the next request is right."""
        if not self.diaries:
            return []
        asked = read_asked(self.elements[-1].array)
        time = numerals.duration(max(diary.seconds for _, diary in self.diaries))
        peak = f"{max(diary.peak or 0.0 for _, diary in self.diaries):,.0f} MiB"
        limit, memory = seconds_of(asked.get("time") or ""), mebibytes_of(asked.get("mem") or "")
        of_time = f" of {numerals.duration(limit)} (time={asked['time']})" if limit else " (no time was asked for)"
        of_memory = f" of {memory:,.0f} MiB (mem={asked['mem']})" if memory else " (no mem was asked for)"
        each = self.study / FOLDER / f"{JOBS}.csv"
        shown = f" Each with its log: {each}." if each.is_file() else ""
        return [
            f"Jobs of SLURM: the longest took {time}{of_time}, the largest {peak} of the host's memory{of_memory}."
            f"{shown}"
        ]

    def write(self) -> list[Path]:
        """Write what the jobs took, where there were any. Raises: StorageError."""
        return write(self.table(), self.study / FOLDER, JOBS) if self.diaries else []

    def table(self) -> Table:
        """A row an element that came to an end."""
        columns = [
            Column("job", "Job"), Column("run", "Run"), Column("code", "Exit code", "number"),
            Column("seconds", "Time", "number", numerals.duration),
            Column("peak", "Peak memory", "number", numerals.decimal(0), "MiB"), Column("log", "Log"),
        ]  # fmt: skip
        return Table(f"Jobs of {self.study}", columns, [_row(element, diary) for element, diary in self.diaries])


def _row(element: Element, diary: Diary) -> dict[str, Cell]:
    seed = f", seed {element.job['seed']}" if "seed" in element.job else ""
    return {
        "job": diary.job, "run": f"{element.job.get('variant', 'trial')}{seed}", "code": diary.code,
        "seconds": diary.seconds, "peak": diary.peak, "log": str(element.log),
    }  # fmt: skip

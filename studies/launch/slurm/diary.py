"""What an element writes of itself, and what follows of it: a line a start, and a line an end that it lived to see."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnlab.storage.durable import storage_errors
from rnnlab.studies.launch.process import process_identity
from rnnlab.studies.launch.slurm.queue import Queued

MOST_DEATHS = 3  # of an element, without a word
MOST_REQUEUES = 1000  # of an element, each at the end of its time limit
GONE = -9  # the exit code of one that left the queue without a word


@dataclass(frozen=True)
class Diary:
    """Attributes:
    worker: identity of the process, while one runs or has died without a word.
    job: as SLURM calls it, of the last start.
    code: the exit code, once it has ended with one and was not started again.
    is_to_requeue: whether it asked to be put back into the queue when it ended.
    requeues: how often it asked.
    deaths: starts that came to no end; one that runs now is among them.
    seconds: that it ran, over all starts that came to an end.
    peak: the most memory that it took [MiB]; None if it never came to an end.
    """

    worker: Mapping[str, Any] | None = None
    job: str = ""
    code: int | None = None
    is_to_requeue: bool = False
    requeues: int = 0
    deaths: int = 0
    seconds: float = 0.0
    peak: float | None = None


def read_diary(path: Path) -> Diary:
    """Raises: StorageError."""
    with storage_errors(f"{path}: cannot be read"):
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    worker, job, code, to_requeue, requeues, starts, ends, seconds, peak = None, "", None, False, 0, 0, 0, 0.0, None
    for line in text.splitlines():
        with suppress(ValueError, KeyError, TypeError, AttributeError):  # cut off by a death; the rest tells enough
            facts = json.loads(line)
            if facts["event"] == "start":
                worker, job, code, to_requeue, starts = facts["worker"], str(facts["job"]), None, False, starts + 1
            elif facts["event"] == "end":
                worker, code, to_requeue, ends = None, int(facts["code"]), bool(facts["requeue"]), ends + 1
                requeues += to_requeue
                seconds += float(facts["seconds"])
                peak = max(float(facts["peak"]), peak or 0.0)
    return Diary(worker, job, code, to_requeue, requeues, starts - ends, seconds, peak)


def write_start(path: Path, job: str) -> None:
    """Raises: StorageError."""
    _append(path, {"event": "start", "at": time.time(), "job": job, "worker": process_identity()})


def write_end(path: Path, code: int, seconds: float, peak: float, requeue: bool = False) -> None:
    """Raises: StorageError."""
    _append(path, {"event": "end", "code": code, "requeue": requeue, "seconds": round(seconds, 2), "peak": peak})


def _append(path: Path, facts: Mapping[str, Any]) -> None:
    with storage_errors(f"{path}: cannot be written"), path.open("ab") as file:
        file.write(b"\n" * bool(file.tell()) + json.dumps(facts).encode())  # a line that was cut off is left behind
        file.flush()
        os.fsync(file.fileno())


def ended_with(diary: Diary, queued: Queued | None, is_gone: bool) -> int | None:
    """With which exit code an element has ended; None if it has not, or nobody knows yet.

    Args:
        queued: where it is in the queue; None if it is not there, or the queue is not known.
        is_gone: whether it is certain that it left the queue.
    """
    if diary.code is not None and diary.code <= 128:  # what was not stopped is not started again by SLURM
        return diary.code
    if queued is not None or not is_gone:
        return None
    return GONE if diary.code is None or diary.is_to_requeue else diary.code

"""The folders of a study's job arrays: what each element is to do, is written before SLURM hears of it.

    STUDY/slurm/0001-1a2b3c/{jobs.jsonl, request.json, job.sh, 0.jsonl, 0.log, 1.jsonl, ...}

So nothing has to be remembered: an array that its parent did not live to see is found in the queue by its script.
"""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnnlab.errors import StorageError
from rnnlab.storage.durable import storage_errors, sync_folder, write_file
from rnnlab.storage.jsonfile import read_object
from rnnlab.studies.launch.launcher import Job
from rnnlab.studies.launch.slurm.queue import Key

FOLDER = "slurm"
JOBS = "jobs.jsonl"
SCRIPT = "job.sh"
ASKED = "request.json"
PLACES = ("config", "folder")  # of a job, what names a file or folder


@dataclass(frozen=True)
class Element:
    """One element of a job array."""

    array: Path
    index: int
    job: Job = field(compare=False)

    @property
    def key(self) -> Key:
        return self.array.name, self.index

    @property
    def script(self) -> Path:
        return self.array / SCRIPT

    @property
    def log(self) -> Path:
        return self.array / f"{self.index}.log"

    @property
    def diary(self) -> Path:
        return self.array / f"{self.index}.jsonl"


def absolute(job: Job) -> dict[str, Any]:
    """A job as it is meant wherever it runs."""
    return {key: str(Path(value).absolute()) if key in PLACES else value for key, value in job.items()}


def same(job: Job) -> str:
    """What two equal jobs share."""
    return json.dumps(job, sort_keys=True)


def write_array(
    study: Path, jobs: Sequence[Job], asked: Mapping[str, str | None], script_of: Callable[[Path], str]
) -> list[Element]:
    """Write the folder of a new array.

    Args:
        asked: the options that it is submitted with.
        script_of: makes the script for the folder.
    Raises: StorageError.
    """
    parent = study.absolute() / FOLDER
    with storage_errors(f"{parent}: cannot be written"):
        parent.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(path.name.partition("-")[0]) for path in _folders(study)), default=0)
        array = parent / f"{number:04d}-{secrets.token_hex(3)}"
        array.mkdir()
        write_file(array / SCRIPT, script_of(array).encode())
        write_file(array / ASKED, json.dumps(asked).encode())
        write_file(array / JOBS, "".join(f"{json.dumps(job)}\n" for job in jobs).encode())
        sync_folder(parent)
    return [Element(array, index, job) for index, job in enumerate(jobs)]


def read_array(array: Path) -> list[Element]:
    """Raises: StorageError."""
    path = array / JOBS
    with storage_errors(f"{path}: cannot be read"):
        lines = path.read_text(encoding="utf-8").splitlines()
    try:
        jobs = [json.loads(line) for line in lines]
    except ValueError as error:
        raise StorageError(f"{path}: damaged ({error}); once its jobs have ended, remove {array}") from None
    return [Element(array, index, job) for index, job in enumerate(jobs)]


def read_arrays(study: Path) -> list[Element]:
    """The elements of all arrays of a study, the oldest first. Raises: StorageError."""
    return [element for array in _folders(study) if (array / JOBS).is_file() for element in read_array(array)]


def read_asked(array: Path) -> dict[str, Any]:
    """The options that an array was submitted with. Raises: StorageError."""
    path = array / ASKED
    return read_object(path, "remove it: it only says what was asked for") if path.exists() else {}


def _folders(study: Path) -> list[Path]:
    parent = study.absolute() / FOLDER
    found = parent.iterdir() if parent.is_dir() else ()
    return sorted(path for path in found if path.name.partition("-")[0].isdecimal() and path.is_dir())

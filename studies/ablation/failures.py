"""Cells that ended with an error, noted in the folder of their study.

The folder of a run does not say it: what a process that dies leaves behind looks like an interruption, and where
nothing could be built there is no run at all. The driver sees how a worker ends, and writes it down.
"""

import json
from pathlib import Path

from rnnlab.storage.durable import storage_errors, write_file
from rnnlab.storage.jsonfile import read_object

FAILURES = "failures.json"
REMEDY = "remove it: it only says how cells ended"


class Failures:
    """The file of a study whose lock is held."""

    def __init__(self, study: Path) -> None:
        """Raises: StorageError if the file is damaged."""
        self._study, self._told = study, _read(study)

    def note(self, cell: Path, words: str) -> None:
        """The cell in this folder has ended without a result. Raises: StorageError."""
        self._write({**self._told, _name(self._study, cell): words})

    def forget(self, cell: Path) -> None:
        """It is begun anew. Raises: StorageError."""
        if (name := _name(self._study, cell)) in self._told:
            self._write({other: words for other, words in self._told.items() if other != name})

    def _write(self, told: dict[str, str]) -> None:
        self._told = told
        with storage_errors(f"{self._study / FAILURES}: cannot be written"):
            write_file(self._study / FAILURES, (json.dumps(told, indent=1) + "\n").encode())


def failures(study: Path) -> dict[Path, str]:
    """How cells ended that have no result and were not begun again, with the last line of their workers, by folder.

    Raises: StorageError if the file is damaged.
    """
    return {study / name: words for name, words in _read(study).items()}


def _read(study: Path) -> dict[str, str]:
    path = study / FAILURES
    told = read_object(path, REMEDY) if path.exists() else {}
    return {name: str(words) for name, words in told.items()}


def _name(study: Path, cell: Path) -> str:
    return cell.relative_to(study).as_posix()

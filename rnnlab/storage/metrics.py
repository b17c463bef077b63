"""The journal of a run: one JSON object a line, the truth that TensorBoard only shows."""

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from rnnlab.errors import StorageError
from rnnlab.storage.durable import storage_errors, write_file
from rnnlab.storage.jsonfile import parse

Record = dict[str, Any]
JOURNAL = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
LOST = {"kind": "lost"}
"""Stands for a record that the run once wrote and the file no longer has."""


def to_json(record: Mapping[str, Any]) -> str:
    """Strict JSON on one line; what is not a finite number becomes null, since JSON has no NaN."""
    return json.dumps(finite(record), allow_nan=False, separators=(", ", ": "))


def finite(value: Any) -> Any:
    """The same with None for what JSON does not have: a number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [finite(child) for child in value]
    return value


class Journal:
    """Appends records to a file, each whole and at once, so that a process that is killed loses none.

    One thread may append while another syncs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._pending = b""
        self._draining = Lock()

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line. A disk that takes none is no reason to stop yet: the line waits, and `sync` complains."""
        line = to_json(record).encode() + b"\n"
        with self._draining, suppress(OSError):
            self._pending += line
            self._drain()

    def sync(self) -> None:
        """Wait until the disk has every record, before a checkpoint counts on them. Raises: StorageError."""
        with storage_errors(f"{self.path}: cannot be written"):
            with self._draining:
                self._drain()
                descriptor = self._open()
            os.fsync(descriptor)  # without the lock: it may take long, and `append` would wait

    def cut(self, records: int) -> int:
        """Keep the first `records` lines, those that the checkpoint knows of, and drop what came after it.

        The count stays true whatever happened to the file: a line that is gone or unreadable is replaced by `LOST`.
        Returns: how many were replaced; 0 unless the file was changed from outside.
        Raises: StorageError if the file cannot be read or written.
        """
        self.close()
        self._pending = b""
        with storage_errors(f"{self.path}: cannot be cut back to the checkpoint"):
            before = self.path.read_bytes() if self.path.exists() else b""
            lines = before.split(b"\n")[:-1][:records]
            lost = to_json(LOST).encode()
            kept = [line if _is_record(line) else lost for line in lines] + [lost] * (records - len(lines))
            after = b"".join(line + b"\n" for line in kept)
            if after != before:
                write_file(self.path, after)
        return records - sum(map(_is_record, lines))

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, JOURNAL, 0o666)
        return self._descriptor

    def _drain(self) -> None:
        """Write what is pending; if only a part of it fits, take that part back, or the next line would join it."""
        descriptor = self._open()
        end = os.lseek(descriptor, 0, os.SEEK_END)
        written = 0
        try:
            while written < len(self._pending):
                written += os.write(descriptor, self._pending[written:])
        except OSError:
            os.ftruncate(descriptor, end)
            raise
        self._pending = b""


def read(path: Path) -> list[Record]:
    """Every record; [] if there is no file. A last line without its newline, being written or cut off, does not count.

    Raises: StorageError naming the first line that is not a JSON object.
    """
    with storage_errors(f"{path}: cannot be read"):
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    for number, line in enumerate(lines, start=1):
        if not _is_record(line):
            raise StorageError(f"{path}:{number}: not a JSON object; `rnnlab resume` sets such a line aside")
    return [parse(line) for line in lines]


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(parse(line), dict)
    except ValueError:
        return False

"""Corpora on their way into the cache: made by one process, and there under their name only when they are whole."""

import hashlib
import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from rnnlab import cache
from rnnlab.console import say
from rnnlab.data import hashes
from rnnlab.errors import DataError
from rnnlab.locks import LockTaken, locked
from rnnlab.storage.durable import NO_LOCKS, STAGED, WITHOUT_LOCKS, sync_folder


@contextmanager
def cache_errors(path: Path) -> Iterator[None]:
    """Turn the OSErrors of the body into a DataError about `path`, which lies in the cache."""
    try:
        yield
    except OSError as error:
        reason = hashes.reason_of(error)
        remedy = NO_LOCKS if error.errno in WITHOUT_LOCKS else "free space"
        raise DataError(f"{path} cannot be written: {reason}; {remedy}, or set RNNLAB_DATA to another folder") from None


@contextmanager
def making(name: str) -> Iterator[Path]:
    """The cache folder, once no other process makes the corpus `name`. Raises: DataError if it cannot be written."""
    root = cache.folder()
    lock = root / f".{name}.lock"
    with ExitStack() as held:
        with cache_errors(root):
            cache.make_folder(root)
            try:
                held.enter_context(locked(lock))
            except LockTaken as holder:
                say(f"{holder} is making {name} in {root}; waiting for it")
                held.enter_context(locked(lock, patience=math.inf))
        yield root


class Publication:
    """A file of the cache while it is being written."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.size = 0  # [bytes]
        self._path = path
        self._file = file
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of what was written so far."""
        return self._hash.hexdigest()

    def write(self, block: bytes) -> None:
        """Raises: DataError if the disk is full or fails."""
        with cache_errors(self._path):
            self._file.write(block)
        self._hash.update(block)
        self.size += len(block)


@contextmanager
def publication(target: Path) -> Iterator[Publication]:
    """Write a file that appears under its name whole and synced, or, if the body raises, not at all.

    The caller is `making` the corpus. Raises: DataError if the disk is full or fails, or a folder stands in the way.
    """
    staged = target.with_name(f"{STAGED}{target.name}")  # one name: what a killed process left is replaced
    with cache_errors(staged):
        staged.unlink(missing_ok=True)
        file = open(staged, "xb", opener=_open_own)  # noqa: SIM115  (closed below)
    try:
        made = Publication(staged, file)
        yield made
        with cache_errors(target):
            file.flush()
            os.fsync(file.fileno())
            os.replace(staged, target)
            written = hashes.stamp_of(os.fstat(file.fileno()))  # another file may have taken the name by now
            sync_folder(target.parent)
    finally:
        with suppress(OSError):  # what is still in the buffer may not find room
            file.close()
        staged.unlink(missing_ok=True)
    hashes.remember(target, written, made.sha256)


def _open_own(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o644)  # never writable by others while it is written and hashed

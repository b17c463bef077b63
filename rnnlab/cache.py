"""The folder that named corpora live in, and what is remembered about the content of files.

Hashing 100 MB takes longer than a user waits for a prompt, so the SHA-256 of a file is kept together with the stamp the
file had (size, times, inode) and holds for as long as the stamp does.
"""

import contextlib
import hashlib
import json
import math
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rnnlab import locks
from rnnlab.errors import DataError
from rnnlab.storage.durable import sync_folder

CLOCK_TICK = 20_000_000
"""Coarsest step of a file system's clock that is reckoned with [ns]: two writes within it may bear one time."""


def folder() -> Path:
    """`RNNLAB_DATA` if it is set, else rnnlab's folder in the user's cache. It need not exist yet."""
    return user_cache("RNNLAB_DATA")


def user_cache(variable: str) -> Path:
    """The folder that an environment variable names, else rnnlab's in the user's cache."""
    chosen = os.environ.get(variable)
    if chosen:
        return Path(os.path.abspath(os.path.expanduser(chosen)))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "rnnlab"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rnnlab"


class Stamp(NamedTuple):
    """What differs once a file was written to or replaced; the change time catches a modification time set back."""

    size: int  # [bytes]
    modified: int  # [ns]
    changed: int  # [ns]
    inode: int


def stamp(path: Path) -> Stamp:
    """The stamp of a regular file; opens nothing, so that a pipe cannot make it wait.

    Raises: DataError if the file is missing, a dangling link, a folder, or no regular file.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        if path.is_symlink():
            raise DataError(
                f"{path} is a link to {os.readlink(path)}, which does not exist; repair the link or name another file"
            ) from None
        raise DataError(f"there is no file {path}; check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise DataError(f"{path} cannot be read: {_reason(error)}; name a file that can") from None
    if stat.S_ISDIR(status.st_mode):
        raise DataError(f"{path} is a folder; name a single file in it, or join its files into one")
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} is a pipe, a socket or a device; write its content to a file and name that")
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def sha256(path: Path) -> tuple[Stamp, str]:
    """The SHA-256 of a file and the stamp under which it holds; remembered while that stamp lasts.

    Raises: DataError if the file cannot be read, or is written to meanwhile.
    """
    before = stamp(path)
    known = _recall(path, before)
    if known is not None:
        return before, known
    if time.time_ns() - before.changed < CLOCK_TICK:
        time.sleep(CLOCK_TICK / 1e9)  # or a write that follows could bear the same time and go unseen
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {_reason(error)}; name a file that can") from None
    if stamp(path) != before:
        raise DataError(f"{path} was written to while it was read; try again once it is whole")
    remember(path, before, digest)
    return before, digest


def remember(path: Path, seen: Stamp, digest: str) -> None:
    """Note the hash of a file. A cache that cannot be written costs time and nothing else."""
    note = _note(path)
    staged = note.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        staged.write_text(json.dumps({"path": str(path), "stamp": seen, "sha256": digest}))
        os.replace(staged, note)


def _recall(path: Path, seen: Stamp) -> str | None:
    try:
        noted = json.loads(_note(path).read_text())
        return str(noted["sha256"]) if noted["stamp"] == list(seen) else None
    except (OSError, ValueError, KeyError, TypeError):  # absent or damaged: the file is hashed anew
        return None


def _note(path: Path) -> Path:
    name = hashlib.blake2b(os.fsencode(os.path.abspath(path)), digest_size=16).hexdigest()
    return folder() / "stamps" / f"{name}.json"


@contextlib.contextmanager
def locked(name: str) -> Iterator[Path]:
    """The cache folder, with the right to make the corpus `name`; waits for another process that is making it.

    Raises: DataError if the folder cannot be written.
    """
    root = folder()
    lock = root / f".{name}.lock"
    with contextlib.ExitStack() as held:
        try:
            root.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(locks.locked(lock))
            except locks.LockTaken as holder:
                print(f"{holder} is making {name} in {root}; waiting for it", file=sys.stderr)
                held.enter_context(locks.locked(lock, patience=math.inf))
        except OSError as error:
            raise DataError(
                f"the cache {root} cannot be written: {_reason(error)}; set RNNLAB_DATA to a folder that can"
            ) from None
        yield root


class Publication:
    """A file of the cache while it is being written."""

    def __init__(self, path: Path) -> None:
        self.size = 0
        self._path = path
        self._hash = hashlib.sha256()
        try:
            self._file = open(path, "wb")  # noqa: SIM115  (closed by `publication`)
        except OSError as error:
            raise self._refusal(error) from None

    @property
    def sha256(self) -> str:
        """Of what was written so far."""
        return self._hash.hexdigest()

    def write(self, block: bytes) -> None:
        """Raises: DataError if the disk is full or fails."""
        try:
            self._file.write(block)
        except OSError as error:
            raise self._refusal(error) from None
        self._hash.update(block)
        self.size += len(block)

    def publish(self, target: Path) -> None:
        """Raises: DataError if the disk is full or fails, or a folder stands in the way."""
        try:
            with self._file:
                self._file.flush()
                os.fsync(self._file.fileno())
            os.replace(self._path, target)
            sync_folder(target.parent)
        except OSError as error:
            raise self._refusal(error) from None
        remember(target, stamp(target), self.sha256)

    def withdraw(self) -> None:
        with contextlib.suppress(OSError):  # what is still in the buffer may not find room
            self._file.close()
        self._path.unlink(missing_ok=True)

    def _refusal(self, error: OSError) -> DataError:
        return DataError(f"{self._path} cannot be written: {_reason(error)}; free space or set RNNLAB_DATA")


@contextlib.contextmanager
def publication(target: Path) -> Iterator[Publication]:
    """Write a file that appears under its name whole and synced, or, if the body raises, not at all.

    The caller holds the lock of the corpus.
    """
    file = Publication(target.with_name(f".tmp-{target.name}"))  # one name: what a killed process left is written over
    try:
        yield file
        file.publish(target)
    except BaseException:
        file.withdraw()
        raise


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()

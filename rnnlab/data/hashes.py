"""The SHA-256 of files, remembered.

Hashing 100 MB takes longer than a user waits for a prompt, so the SHA-256 of a file is kept together with the stamp the
file had (size, times, inode) and holds for as long as the stamp does.
"""

import contextlib
import hashlib
import json
import os
import stat
import time
from pathlib import Path
from typing import NamedTuple

from rnnlab import cache
from rnnlab.errors import DataError

CLOCK_TICK = 20_000_000
"""Coarsest step of a file system's clock that is reckoned with [ns]: two writes within it may bear one time."""


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
        raise DataError(f"{path} cannot be read: {reason_of(error)}; name a file that can") from None
    if stat.S_ISDIR(status.st_mode):
        raise DataError(f"{path} is a folder; name a single file in it, or join its files into one")
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} is a pipe, a socket or a device; write its content to a file and name that")
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def sha256(path: Path, remembered: bool = True) -> tuple[Stamp, str]:
    """The SHA-256 of a file and the stamp under which it holds; remembered while that stamp lasts.

    Args:
        remembered: False to read the file in any case.
    Raises: DataError if the file cannot be read, or is written to meanwhile.
    """
    before = stamp(path)
    known = _recall(path, before) if remembered else None
    if known is not None:
        return before, known
    if time.time_ns() - before.changed < CLOCK_TICK:
        time.sleep(CLOCK_TICK / 1e9)  # or a write that follows could bear the same time and go unseen
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason_of(error)}; name a file that can") from None
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
    return cache.folder() / "stamps" / f"{name}.json"


def reason_of(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()

"""The SHA-256 of files, remembered.

Hashing 100 MB takes longer than a user waits for a prompt, so the SHA-256 of a file is kept together with the stamp the
file had (size, times, inode) and holds for as long as the stamp does. A note that others could have written is not
believed (rnnlab.cache): where they can write to the cache, each user has notes of their own.
"""

import contextlib
import hashlib
import json
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from rnnlab import cache
from rnnlab.errors import DataError
from rnnlab.storage.durable import STAGED

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
    return stamp_of(status)


def stamp_of(status: os.stat_result) -> Stamp:
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
            read = stamp_of(os.fstat(file.fileno()))  # of the file itself: its name may have been lent to another
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason_of(error)}; name a file that can") from None
    if read != before:
        raise DataError(f"{path} was written to while it was read; try again once it is whole")
    remember(path, before, digest)
    return before, digest


def remember(path: Path, seen: Stamp, digest: str) -> None:
    """Note the hash of a file. A cache that cannot be written costs time and nothing else."""
    with contextlib.suppress(OSError):
        write_note(_note(path), json.dumps({"path": str(path), "stamp": seen, "sha256": digest}))


def write_note(note: Path, text: str) -> None:
    """Write what `cache.open_own` will open. Raises: OSError."""
    note.parent.mkdir(mode=0o755, exist_ok=True)
    # a name that no other process has, on another machine or in another container neither
    handle, staged = tempfile.mkstemp(prefix=STAGED, dir=note.parent)
    try:
        with open(handle, "w") as file:
            os.fchmod(handle, 0o644)  # others may read what root notes
            file.write(text)
        os.replace(staged, note)
    except BaseException:
        os.unlink(staged)
        raise


def _recall(path: Path, seen: Stamp) -> str | None:
    try:
        with cache.open_own(_note(path)) as note:
            noted = json.load(note)
        return str(noted["sha256"]) if noted["stamp"] == list(seen) else None
    except (OSError, ValueError, KeyError, TypeError):  # absent, damaged or not ours: the file is hashed anew
        return None


def _note(path: Path) -> Path:
    """Raises: OSError if there is no folder for it."""
    name = hashlib.blake2b(os.fsencode(os.path.abspath(path)), digest_size=16).hexdigest()
    return cache.own_folder(cache.folder()) / "stamps" / f"{name}.json"


def reason_of(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()

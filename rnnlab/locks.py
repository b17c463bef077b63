"""A lock file that one process holds at a time. The kernel frees the lock when its holder dies.

    with locked(folder / "lock"):
        ...
    with locked_folder(folder) as lock:     # the file `lock` in it, and the folder itself
        lock.check()                        # before each thing that is written

The descriptor is ours and not that of `filelock.FileLock`: FileLock closes it in a forked child, and a child that still
writes would not keep the lock after its parent has died.
"""

import errno
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import lock_descriptor, unlock_descriptor

from rnnlab.safe_text import printable

POLL = 0.05  # [s] between attempts
LOCK = "lock"  # name of the lock file of a folder
OURS = re.compile(rb"\0*|process \d+ on [^\n]*\n?")
"""What a lock file of ours holds: the name of its holder, or nothing; zeros after a power cut."""
MOST = 400  # [bytes] that are read of a lock file: more than one of ours holds


class LockTaken(Exception):
    """Another process holds the lock; the message says which one."""


class LockLost(Exception):
    """The lock file is gone or another one: someone removed, moved or replaced it, or the folder that it lies in."""


@dataclass(frozen=True)
class Lock:
    """A lock that is held."""

    path: Path
    descriptor: int

    def check(self) -> None:
        """Raises: LockLost if the file of that name is no longer the one that is locked."""
        if not _is_at(self.path, self.descriptor):
            raise LockLost


@contextmanager
def locked(path: Path, patience: float = 0.0) -> Iterator[Lock]:
    """Hold the lock inside the block. Forked children share it.

    Args:
        patience: how long to wait for another holder [s].
    Raises: LockTaken; OSError if the file cannot be opened or locked, or is a file of that name but no lock.
    """
    descriptor = _acquire(path, time.monotonic() + patience)
    try:
        with suppress(OSError):  # the name of the holder is a courtesy: a full disk is no reason not to hold the lock
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield Lock(path, descriptor)
    finally:
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
        unlock_descriptor(descriptor)  # closing alone would leave it to a child that shares it
        os.close(descriptor)


@contextmanager
def locked_folder(folder: Path) -> Iterator[Lock]:
    """Hold the file `lock` in a folder, and the folder itself, so that who deletes the file lets no second writer in.

    Raises: as `locked`.
    """
    with locked(folder / LOCK) as lock, ExitStack() as stack:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, descriptor)
        with suppress(OSError):  # NFS locks no folders: there the file has to do
            if not lock_descriptor(descriptor, blocking=False):
                raise LockTaken("another process, whose lock file was removed")
            stack.callback(unlock_descriptor, descriptor)
        yield lock


def holder(folder: Path) -> str:
    """The process that holds a folder, as its lock file names it: "process 123 on HOST"; empty if there is none.

    Nothing is locked. Whether a process still runs is looked up on this machine alone; of another its word counts.
    """
    try:
        said = printable((folder / LOCK).read_bytes()[:200].decode(errors="replace")).strip()
    except OSError:
        return ""
    words = said.split()
    if words[:1] == ["process"] and words[1:2] and words[1].isdecimal() and words[-1] == socket.gethostname():
        try:
            os.kill(int(words[1]), 0)
        except (ProcessLookupError, OverflowError):
            return ""
        except PermissionError:
            pass  # of another user
    return said


def _acquire(path: Path, until: float) -> int:
    while True:
        # O_NOFOLLOW: through a link, another file would be emptied
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        with ExitStack() as unless_held:
            unless_held.callback(os.close, descriptor)
            if lock_descriptor(descriptor, blocking=False):
                if _is_at(path, descriptor):
                    if not OURS.fullmatch(os.read(descriptor, MOST)):
                        raise OSError(errno.EEXIST, "it is no lock of rnnlab, and is left alone", str(path))
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    unless_held.pop_all()
                    return descriptor
            elif time.monotonic() >= until:
                raise LockTaken(
                    printable(os.read(descriptor, 200).decode(errors="replace")).strip() or "another process"
                )
        time.sleep(POLL)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the locked file is still the one of that name: who deletes a lock file lets a second writer in."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    return False

"""A lock file that one process holds at a time. The kernel frees the lock when its holder dies.

    with locked(folder / "lock"):
        ...

The descriptor is ours and not that of `filelock.FileLock`: FileLock closes it in a forked child, and a child that still
writes would not keep the lock after its parent has died.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import lock_descriptor, unlock_descriptor

from rnnlab.safe_text import printable

POLL = 0.05  # [s] between attempts


class LockTaken(Exception):
    """Another process holds the lock; the message says which one."""


@contextmanager
def locked(path: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock inside the block. Forked children share it.

    Args:
        patience: how long to wait for another holder [s].
    Raises: LockTaken; OSError if the file cannot be opened or locked.
    """
    descriptor = _acquire(path, time.monotonic() + patience)
    try:
        with suppress(OSError):  # the name of the holder is a courtesy: a full disk is no reason not to hold the lock
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
        unlock_descriptor(descriptor)  # closing alone would leave it to a child that shares it
        os.close(descriptor)


def _acquire(path: Path, until: float) -> int:
    while True:
        # O_NOFOLLOW: through a link, another file would be emptied
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        with ExitStack() as unless_held:
            unless_held.callback(os.close, descriptor)
            if lock_descriptor(descriptor, blocking=False):
                if _is_at(path, descriptor):
                    unless_held.pop_all()
                    return descriptor
            elif time.monotonic() >= until:
                raise LockTaken(
                    printable(os.read(descriptor, 200).decode(errors="replace")).strip() or "another process"
                )
        time.sleep(POLL)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the locked file is still the one of that name: who deletes a lock file lets a second writer in."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    return False

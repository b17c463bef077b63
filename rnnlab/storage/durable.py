"""Files that are whole after a crash: staged under a name that nobody reads, synced, and renamed into place."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnnlab.errors import StorageError

STAGED = ".tmp-"
"""What the name of a file or folder begins with as long as it must not be read."""

NO_LOCKS = (
    "this file system has no file locks (Lustre has them with the mount option flock); choose a folder on another"
)
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK)
REMEDIES = {
    **dict.fromkeys(WITHOUT_LOCKS, NO_LOCKS),
    errno.ELOOP: "a link is in the way; remove it, or choose another folder",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or ask for a larger quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that can be written to",
    errno.EEXIST: "a file of this name is in the way; choose another folder",
    errno.EISDIR: "a folder of this name is in the way; move it away",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a part of this path is a file; choose another folder",
}


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn the OSErrors of the body into a StorageError: `doing`, the reason, and a remedy where there is one."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        remedy = REMEDIES.get(error.errno or 0)
        raise StorageError(f"{doing}: {reason}" + (f"; {remedy}" if remedy else "")) from error


def write_file(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: after a crash it holds the old bytes or the new ones. Raises: OSError."""
    staged = path.with_name(f"{STAGED}{path.name}")
    try:
        write_synced(staged, data)
        os.replace(staged, path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_synced(path: Path, data: bytes) -> None:
    """Write `data` and wait until the disk has it; not atomic. Raises: OSError."""
    with open(path, "wb", opener=_open_no_link) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _open_no_link(path: str, flags: int) -> int:
    """A link that someone put in the place of a staged file would lead the bytes into another file."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in `folder`, without which a renamed file may come back under its old name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The folders that outlive a run, named corpora and compiled kernels, and what in them is believed.

Such a folder may be shared, and others then put files in it. Code is loaded from it, and a remembered hash believed,
only if the file is ours: this user or root owns it, and nobody else can write to it. Root counts, so that an
administrator can fill a folder for everybody. On a file system where everybody can write everything, nothing is ours:
what would have been kept there is made again each time.
"""

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import BinaryIO

from platformdirs import user_cache_path


def folder() -> Path:
    """Where named corpora lie: `RNNLAB_DATA` if it is set, else the user's cache. It need not exist yet."""
    return user_cache("RNNLAB_DATA")


def user_cache(variable: str) -> Path:
    """The folder that an environment variable names, else rnnlab's in the user's cache; where a user has no home, as in
    many containers, it lies among the temporary files."""
    chosen = os.environ.get(variable)
    if chosen:
        return Path(os.path.abspath(os.path.expanduser(chosen)))
    try:
        return user_cache_path("rnnlab", appauthor=False)
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"rnnlab-{os.geteuid()}"


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone. Raises: OSError."""
    for missing in reversed([each for each in (path, *path.parents) if not each.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def own_folder(shared: Path) -> Path:
    """The folder itself if it is ours, else one of this user's own in it; made where it is missing.

    Raises: OSError if neither can be had.
    """
    make_folder(shared)
    if _is_ours(os.stat(shared)):
        return shared
    own = shared / f"user-{os.geteuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    if not _is_ours(os.lstat(own)):  # or a link, which could lead anywhere
        raise PermissionError(errno.EPERM, "others can write to it", str(own))
    return own


def open_own(path: Path) -> BinaryIO:
    """Open a file of ours to read. What is open was checked, whatever its name stands for by then.

    Raises: OSError if it is missing, a link, no regular file, or not ours.
    """
    file = open(path, "rb", opener=_open_no_link)  # noqa: SIM115 -- it is returned
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and _is_ours(status):
        return file
    file.close()
    raise PermissionError(errno.EPERM, "not a file that only this user or root can write to", str(path))


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe in its place would wait for a writer


def _is_ours(status: os.stat_result) -> bool:
    owned = status.st_uid in (os.geteuid(), 0)
    return owned and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)

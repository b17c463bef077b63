"""The folders that are written to: caches, corpora, and where runs go."""

import shutil
import tempfile
from functools import partial
from pathlib import Path

from rnnlab import cache
from rnnlab.data.corpora import PUBLISHED
from rnnlab.doctor.finding import Check, Finding
from rnnlab.locks import LOCK, LockTaken, locked, locked_folder
from rnnlab.storage.durable import NO_LOCKS, REMEDIES, WITHOUT_LOCKS, write_file

CHECKPOINT = 10**9  # [bytes] of the paper's size, with the moments of its optimizer
RUN_NEEDS = 4 * CHECKPOINT  # [bytes] two that are kept, the best, and the one that is being written
CACHE_NEEDS = 3 * 10**8  # [bytes] two corpora, one of them as it is unpacked
LEAST = 5 * 10**7  # [bytes] without which not even small runs save


def checks(device: str) -> list[Check]:
    kernels, corpora = cache.user_cache("RNNLAB_CACHE"), cache.folder()
    runs = runs_folder()
    return [
        partial(cached, "folder of kernels", "RNNLAB_CACHE", kernels),
        partial(cached, "folder of corpora", "RNNLAB_DATA", corpora),
        *(partial(corpus, name) for name in PUBLISHED),
        partial(space, "space for corpora", corpora, CACHE_NEEDS, "fetching corpora"),
        partial(writing, "folder of runs", runs),
        partial(space, "space for runs", runs, RUN_NEEDS, "a run of the paper's size"),
        shared_memory,
    ]


def runs_folder() -> Path:
    """Where new runs go."""
    runs = Path("runs")
    return runs.resolve() if runs.is_dir() else Path.cwd()


def cached(name: str, variable: str, shared: Path) -> Finding:
    """Whether what lies in a cache is believed, which asks who else can write to it, and whether it can be kept."""
    try:
        own = cache.own_folder(shared)
        trouble = _trouble_of_writing(own)
    except OSError as error:
        said = f"{shared} cannot be written to: {(error.strerror or str(error)).lower()}"
        remedy = f"set {variable} to a folder that you may write to, unless an administrator fills this one"
        return Finding(name, "warning", said, remedy)
    if trouble:
        return Finding(name, "warning", f"{own}: {trouble}", f"set {variable} to a folder on another file system")
    if own != shared:
        said = f"others can write to {shared}; yours lie in {own}"
        return Finding(name, "warning", said, f"chmod go-w {shared}, or set {variable} to another folder")
    return Finding(name, "good", f"{shared}: only you or root can write to it; locks work")


def corpus(name: str) -> Finding:
    """Whether a published corpus is there, and is what was published."""
    published = PUBLISHED[name]
    if not (cache.folder() / name).exists():
        return Finding(name, "absent", f"not in {cache.folder()}", f"rnnlab fetch {name}, where it is needed")
    published.open()
    return Finding(name, "good", f"{published.size:,} bytes, with the published hash")


def writing(name: str, folder: Path) -> Finding:
    """Whether checkpoints can be written, and a second writer is kept out."""
    try:
        trouble = _trouble_of_writing(folder)
    except OSError as error:
        said = f"{folder}: {(error.strerror or str(error)).lower()}"
        return Finding(name, "bad", said, REMEDIES.get(error.errno or 0, "go to another folder, or name one by --run"))
    if trouble:
        return Finding(name, "bad", f"{folder}: {trouble}", NO_LOCKS)
    return Finding(name, "good", f"{folder}: files are synced; locks work")


def _trouble_of_writing(folder: Path) -> str:
    """Sync a file, rename it, and take its folder's lock, all for real; what is wrong with locks, or nothing.

    Raises: OSError if nothing can be written.
    """
    with tempfile.TemporaryDirectory(prefix=".rnnlab-doctor-", dir=folder) as name:
        place = Path(name)
        write_file(place / "written", b"x" * 4096)
        try:
            with locked_folder(place), locked(place / LOCK):
                return "a lock that is held is given to a second writer"
        except LockTaken:
            return ""
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            return f"no file locks: {(error.strerror or str(error)).lower()}"


def space(name: str, folder: Path, needed: int, what: str) -> Finding:
    """Free space beside what is to be written."""
    there = next(each for each in (folder, *folder.parents) if each.is_dir())
    free = shutil.disk_usage(there).free
    told = f"{_size(free)} free in {there}"
    if free >= needed:
        return Finding(name, "good", told)
    remedy = f"free some space, or choose a folder elsewhere: {what} takes {_size(needed)}"
    return Finding(name, "bad" if free < LEAST else "warning", told, remedy)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def shared_memory() -> list[Finding]:
    """NCCL's, between the GPUs of one machine; no line where there is one GPU or none."""
    import torch

    if torch.cuda.device_count() < 2:
        return []
    free, needed = shutil.disk_usage("/dev/shm").free, torch.cuda.device_count() * 2**25
    if free >= needed:
        return [Finding("/dev/shm", "good", f"{_size(free)} free")]
    said = f"{_size(free)} free, and NCCL takes about {_size(needed)}"
    return [Finding("/dev/shm", "warning", said, "start the container with --shm-size=1g")]

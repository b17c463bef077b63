"""Named tensors in a file: hashed on the way out, and on the way in checked before anything is believed.

The file is torch.save's archive of a flat {name: tensor}. torch.load accepts most files with a flipped bit, so the hash
of what was written comes first. Who wrote a hostile file wrote its hash too; therefore the archive must also look like
one of ours: nothing packed, nothing named but tensors. Reading it then runs nothing and takes about its size in memory.
"""

import hashlib
import os
import pickletools
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from rnnlab.errors import StorageError

ROOT = "archive/"
HEADER = ROOT + "data.pkl"
MAX_HEADER = 2**22  # [bytes] of pickle that name the tensors; ours take about 150 a tensor
BLOCK = 2**20  # [bytes] read at a time
GLOBALS = {"torch._utils _rebuild_tensor_v2", "collections OrderedDict"}
OPCODES = {
    *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BINPERSID", "EMPTY_DICT", "SETITEM", "SETITEMS"),
    *("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "NEWFALSE"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
}


class Damaged(StorageError):
    """A file that is not what was written."""


def write(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Write and sync the file; equal tensors give equal bytes. Returns {"bytes": size, "sha256": hex digest}.

    Raises: OSError.
    """
    flat = {name: _on_host(tensors[name]) for name in sorted(tensors)}
    with path.open("wb") as file:
        hashing = _HashingFile(file)
        try:
            torch.save(flat, hashing)  # type: ignore[arg-type]  # write and flush are all that it calls
        except RuntimeError:
            if hashing.error is not None:  # torch hides a full disk behind "unexpected pos"
                raise hashing.error from None
            raise
        file.flush()
        os.fsync(file.fileno())
    return {"bytes": hashing.size, "sha256": hashing.digest.hexdigest()}


def _on_host(tensor: Tensor) -> Tensor:
    """A contiguous copy in a storage of its own: torch.save writes whole storages, and shared ones once."""
    return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())


class _HashingFile:
    """Hashes what is written on its way to the file: what the disk makes of it later cannot enter the hash."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.size = 0
        self.error: OSError | None = None

    def write(self, data: memoryview) -> int:
        try:
            self.file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.digest.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        self.file.flush()


def read(path: Path, size: int, sha256: str) -> dict[str, Tensor]:
    """The tensors, on the CPU.

    Args:
        size: of the file that was written [bytes].
        sha256: hex digest of it.
    Raises: Damaged naming the file and what is wrong with it.
    """
    try:
        with open_regular(path) as file:
            found = os.fstat(file.fileno()).st_size
            if found != size:
                raise Damaged(f"{path}: {found} bytes, and {size} were written")
            digest = hashlib.sha256()
            while block := file.read(BLOCK):
                digest.update(block)
            if digest.hexdigest() != sha256:
                raise Damaged(f"{path}: its sha256 is {digest.hexdigest()[:12]}, and {sha256[:12]} was written")
            file.seek(0)
            _check_archive(path, file, size)
            file.seek(0)
            tensors: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
            if not all(tensor.is_contiguous() for tensor in tensors.values()):  # one value can be seen as a million
                raise Damaged(f"{path}: holds a view, where copies were written")
            return tensors
    except Damaged:
        raise
    except Exception as error:  # the hash holds, so it was written to harm: whatever it trips over, it is refused
        raise Damaged(
            f"{path}: not a file of tensors ({type(error).__name__}: {str(error).splitlines()[0]})"
        ) from error


def open_regular(path: Path) -> BinaryIO:
    """Open for reading; a device or a pipe, on which reading may never end, is refused. Raises: OSError, Damaged."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise Damaged(f"{path}: not a regular file")
    return path.open("rb")


def _check_archive(path: Path, file: BinaryIO, size: int) -> None:
    """Refuse an archive that is not laid out like ours, before torch reads it."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        names = {entry.filename.lower() for entry in entries}  # torch looks them up without regard to case
        if len(names) < len(entries) or not all(name.startswith(ROOT) for name in names):
            raise Damaged(f"{path}: its archive has entries that torch.save does not write")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise Damaged(f"{path}: its archive is packed, and may unpack to anything")
        if sum(entry.file_size for entry in entries) > size:
            raise Damaged(f"{path}: the entries of its archive overlap")
        if archive.getinfo(HEADER).file_size > MAX_HEADER:
            raise Damaged(f"{path}: its header has {archive.getinfo(HEADER).file_size} bytes")
        header = archive.read(HEADER)
    for opcode, argument, _ in pickletools.genops(header):
        if opcode.name not in OPCODES:
            raise Damaged(f"{path}: its header has a {opcode.name}, which tensors do not need")
        if opcode.name == "GLOBAL" and not (argument in GLOBALS or _is_storage(str(argument))):
            raise Damaged(f"{path}: its header calls {argument!r}, which tensors do not need")


def _is_storage(name: str) -> bool:
    module, _, kind = name.partition(" ")
    return module == "torch" and kind.isidentifier() and kind.endswith("Storage")

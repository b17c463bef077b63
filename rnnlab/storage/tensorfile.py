"""Named tensors in a safetensors file, which is read only if it holds the bytes that were written.

The hash comes first, because a flipped bit in a number gives a file that safetensors accepts. A file whose hash was
made to fit runs no code either: it has a JSON header and raw numbers, and safetensors checks one against the other.
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
from torch import Tensor

from rnnlab.errors import StorageError
from rnnlab.storage.durable import write_synced


class Damaged(StorageError):
    """A file that is not what was written."""


def write(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Write and sync the file; equal tensors give equal bytes. Returns {"bytes": size, "sha256": hex digest}.

    Raises: OSError; StorageError for a complex tensor.
    """
    flat: dict[str, Tensor] = {}
    storages = set[int]()
    for name in sorted(tensors):
        if tensors[name].is_complex():
            raise StorageError(f"{name!r} is complex, which a checkpoint cannot hold; keep torch.view_as_real of it")
        tensor = tensors[name].detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        flat[name] = tensor.clone() if storage in storages else tensor  # safetensors refuses tensors that share memory
        storages.add(storage)
    data = safetensors.torch.save(flat)  # no metadata: it is written in another order each time, with another hash
    write_synced(path, data)
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def read(path: Path, size: int, sha256: str) -> dict[str, Tensor]:
    """The tensors, on the CPU, in the order of their names.

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
            data = file.read()
        digest = hashlib.sha256(data).hexdigest()
        if digest != sha256:
            raise Damaged(f"{path}: its sha256 is {digest[:12]}, and {sha256[:12]} was written")
        return dict(sorted(safetensors.torch.load(data).items()))
    except Damaged:
        raise
    except Exception as error:  # the hash holds, so it was written to harm: whatever it trips over, it is refused
        raise Damaged(f"{path}: not a file of tensors ({type(error).__name__}: {error})") from error


def open_regular(path: Path) -> BinaryIO:
    """Open for reading; a device or a pipe, on which reading may never end, is refused. Raises: OSError, Damaged."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise Damaged(f"{path}: not a regular file")
    return path.open("rb")

"""A state dict that somebody else saved with torch, read as data: what it claims is looked at before it is used.

torch's loader runs no code of the file. But it unpacks any number of bytes from a few, and gives tensors whose rows are
one number over and over, which take their memory when somebody computes with them; both are refused.
"""

import os
import reprlib
import stat
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from rnnlab.errors import DataError
from rnnlab.storage.durable import storage_errors

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MOST_DIMENSIONS = 3
LONGEST_NAME = 200  # [characters]: it stands in messages


def read(path: Path, tied: str) -> dict[str, Tensor]:
    """The tensors of a file that `torch.save(model.state_dict(), FILE)` wrote, on the CPU, together no larger than it.

    Args:
        path: the file.
        tied: the one entry that may share its memory with another.
    Raises: StorageError if it cannot be opened; DataError naming it, and the entry that is no tensor of floats.
    """
    with storage_errors(f"{path}: cannot be read"):
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"{path}: not a regular file")
        file = path.open("rb")
    with file:
        try:
            found = _load(file)
        except Exception:  # whatever a file that was written to harm makes the loader trip over
            raise DataError(
                f"{path}: not a file of tensors; write it with torch.save(model.state_dict(), FILE)"
            ) from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds a {type(found).__name__} in place of tensors by name; save model.state_dict()")
    taken = Counter[tuple[int, bool]]()  # of each piece of memory, what the tensors so far need [bytes]
    for name, value in found.items():
        wrong = _wrong_name(name) or _wrong_value(value) or _wrong_memory(value, taken, name == tied)
        if wrong:
            raise DataError(f"{path}: {_shown(name)} {wrong}")
    return found


def _load(file: BinaryIO) -> Any:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > os.fstat(file.fileno()).st_size:
            raise ValueError("torch.save does not compress")
    file.seek(0)
    return torch.load(file, map_location="cpu", weights_only=True)


def _wrong_name(name: object) -> str | None:
    if isinstance(name, str) and name.isprintable() and len(name) <= LONGEST_NAME:
        return None
    return "is no name of a tensor"


def _wrong_value(value: object) -> str | None:
    if not isinstance(value, Tensor):
        return f"is a {type(value).__name__} and no tensor; save model.state_dict()"
    if value.is_nested or value.layout != torch.strided or value.device.type != "cpu":
        return "is a tensor without numbers of its own; a dense one is expected"
    if value.dtype not in FLOATS:
        return f"holds {value.dtype}; floats of 16, 32 or 64 bits are expected"
    if value.dim() > MOST_DIMENSIONS:
        return f"has {value.dim()} dimensions, more than any tensor of a SHA-RNN"
    return None


def _wrong_memory(value: Tensor, taken: Counter[tuple[int, bool]], is_tied: bool) -> str | None:
    memory = value.untyped_storage()
    place = memory.data_ptr(), is_tied
    taken[place] += value.nbytes
    if taken[place] <= memory.nbytes():
        return None
    return "has its numbers several times, or shares them with another; save a clone() of it"


def _shown(name: object) -> str:
    """As it is, or abbreviated with what could not be printed as escapes."""
    return reprlib.repr(name) if _wrong_name(name) else str(name)

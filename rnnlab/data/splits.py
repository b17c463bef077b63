"""Text as bytes: mapped files, their splits, and the batches a recurrent model reads them in.

A text is never copied into the process, and a file that changes under a run is noticed before the next chunk is cut.
"""

import copy
import hashlib
import mmap
import os
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rnnlab import rng
from rnnlab.data import hashes
from rnnlab.errors import ConfigError, DataError

Bytes = npt.NDArray[np.uint8]

RELEASE_AFTER = 8 << 20
"""Bytes read through a mapping before its pages are given back [bytes]; they stay in the system's cache. One access may
map a page of 2 MB, so that a stream of any length keeps at most this and 2 MB a sequence in the process."""


class MappedFile:
    """A file as it was opened: its bytes, mapped and read-only. Raises: DataError if it cannot be read or is empty."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.abspath(os.path.expanduser(path)))
        self.stamp = hashes.stamp(self.path)
        if self.stamp.size == 0:
            raise DataError(f"{self.path} is empty; name a file that holds text")
        try:
            with open(self.path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: emptied since the stamp was taken
            raise DataError(f"{self.path} cannot be read: {error}; name a file that can") from None
        if len(self._map) != self.stamp.size:
            raise self._changed()
        self.bytes: Bytes = np.frombuffer(self._map, dtype=np.uint8)
        self._sha256: str | None = None

    @property
    def sha256(self) -> str:
        """Of the content that was opened; computed when first asked for."""
        if self._sha256 is None:
            seen, digest = hashes.sha256(self.path)
            if seen != self.stamp:
                raise self._changed()
            self._sha256 = digest
        return self._sha256

    def verify(self) -> None:
        """One look at the stamp. A file that was only touched, or replaced by its equal, is accepted.

        Raises: DataError if the content is no longer what was opened, or was never hashed and may not be.
        """
        seen = hashes.stamp(self.path)
        if seen == self.stamp:
            return
        if self._sha256 is None or seen.size != self.stamp.size:
            raise self._changed()
        seen, digest = hashes.sha256(self.path)
        if digest != self._sha256:
            raise self._changed()
        self.stamp = seen

    def release(self) -> None:
        """Give the pages read so far back to the system, so that a stream of any length stays small."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def _changed(self) -> DataError:
        return DataError(
            f"{self.path} changed while it was in use; put its old content back and resume, or start a new run"
        )


@dataclass(frozen=True)
class Split:
    """A stretch of a mapped file: what is trained on, validated on, or tested on."""

    name: str
    file: MappedFile
    start: int  # [bytes]
    stop: int  # [bytes]

    @property
    def bytes(self) -> Bytes:
        """(n,) read-only view."""
        return self.file.bytes[self.start : self.stop]

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, part: slice) -> "Split":
        """The stretch `split[start:stop]`, still a view."""
        start, stop, step = part.indices(len(self))
        assert step == 1
        return Split(self.name, self.file, self.start + start, self.start + max(start, stop))


@dataclass(eq=False)
class Corpus:
    """Three splits under one name."""

    name: str
    train: Split
    valid: Split
    test: Split

    def split(self, name: str) -> Split:
        """Raises: ConfigError if it is none of train, valid, test."""
        if name not in ("train", "valid", "test"):
            raise ConfigError(f"no split {name!r}; the splits are train, valid and test")
        chosen: Split = getattr(self, name)
        return chosen

    @property
    def files(self) -> list[MappedFile]:
        """The files the splits lie in, each once."""
        return list(dict.fromkeys(split.file for split in (self.train, self.valid, self.test)))

    @property
    def sha256(self) -> str:
        """Of the file; with separate files, of their three hashes in the order train, valid, test."""
        digests = [file.sha256 for file in self.files]
        return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def verify(self) -> None:
        """Raises: DataError if a file is no longer what was opened."""
        for file in self.files:
            file.verify()


class Batches:
    """A split cut in B contiguous sequences of equal length, read side by side; the few bytes left over are not used.

    Args:
        split: what is read.
        batch_size: B, over all ranks.
        shard: (rank, ranks); this process holds sequences [rank B / ranks, (rank + 1) B / ranks).
    Raises: ConfigError if B is not a positive multiple of ranks; DataError if a sequence would have no byte to predict.
    """

    def __init__(self, split: Split, batch_size: int, shard: tuple[int, int] = (0, 1)) -> None:
        rank, ranks = shard
        assert 0 <= rank < ranks
        if batch_size < 1 or batch_size % ranks:
            raise ConfigError(
                f"{batch_size} sequences cannot be shared evenly by {ranks} ranks; take a positive multiple of {ranks}"
            )
        if len(split) < 2 * batch_size:
            raise DataError(
                f"{split.file.path}: the {split.name} split has {len(split)} bytes, too few for {batch_size} sequences "
                f"of 2 bytes or more; take a larger corpus or a smaller batch"
            )
        self.split = split
        self.length = len(split) // batch_size  # [bytes] of a sequence; positions 0 .. length - 2 can be predicted from
        self.count = batch_size // ranks
        self.first = rank * self.count
        start = self.first * self.length
        self._bytes = split.bytes[start : start + self.count * self.length].reshape(self.count, self.length)
        self._resident: Tensor | None = None
        self._unreleased = 0

    def to(self, device: torch.device | str) -> "Batches":
        """The same, held on an accelerator as uint8 so that chunks are cut there; on the CPU the text stays mapped."""
        if torch.device(device).type == "cpu":
            return self
        resident = torch.empty(self._bytes.shape, dtype=torch.uint8, device=device)
        for sequence, data in zip(resident, self._bytes, strict=True):
            for start in range(0, self.length, RELEASE_AFTER):
                self.split.file.verify()
                piece = data[start : start + RELEASE_AFTER].copy()  # torch warns of memory it may not write to
                sequence[start : start + RELEASE_AFTER] = torch.from_numpy(piece).to(device)
                self.split.file.release()
        moved = copy.copy(self)
        moved._resident = resident
        return moved

    def chunk(self, position: int, length: int) -> tuple[Tensor, Tensor]:
        """inputs (T, B) at positions [position, position + length) of each sequence, and targets (T, B) one byte later.

        int64, contiguous, time-major; position + length <= self.length - 1.

        Raises: DataError if the file changed since it was opened.
        """
        assert 0 <= position < position + length <= self.length - 1
        self.split.file.verify()  # before reading: a mapping that outlasts its file kills the process on access
        stop = position + length + 1
        if self._resident is not None:
            window = self._resident[:, position:stop].t().to(torch.int64, memory_format=torch.contiguous_format)
        else:
            window = torch.from_numpy(np.ascontiguousarray(self._bytes[:, position:stop].T, dtype=np.int64))
            self._unreleased += window.numel()
            if self._unreleased >= RELEASE_AFTER:
                self.split.file.release()
                self._unreleased = 0
        return window[:-1], window[1:]


def chunk_length(seed: int, step: int, bptt: int, jitter: bool) -> int:
    """Length of the chunk at a step [bytes]: `bptt`, or with jitter a draw that depends on (seed, step) only.

    Source: Merity et al. 2017, arXiv:1708.02182, section 4.1: N(bptt, 5) with probability 0.95, else N(bptt / 2, 5).
    As in the first implementation the draw is cut to a whole number, not rounded, and bptt / 2 is not.
    Differs: clipped to [5, bptt]; a bptt below 5 is never lengthened.
    """
    if not jitter:
        return bptt
    draw = random.Random(rng.derive(seed, step, "chunk length"))
    mean = bptt if draw.random() < 0.95 else bptt / 2
    return min(max(int(draw.gauss(mean, 5.0)), 5), bptt)

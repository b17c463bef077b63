"""Text as bytes: files, their splits, and the batches a recurrent model reads them in.

A text is read piece by piece and never held as a whole, and a file that changes under a run is noticed before the next
chunk is cut. It is not mapped: a mapping whose file is cut short kills the process.
"""

import copy
import hashlib
import os
import random
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rnnlab import rng
from rnnlab.data import hashes
from rnnlab.data.source import Chunk, Portion, Read
from rnnlab.errors import ConfigError, DataError

Bytes = npt.NDArray[np.uint8]

VOCABULARY = 256  # V: raw bytes, so that any file can be read and any prompt continued
SPLITS = ("train", "valid", "test", "all")
MOST_RESIDENT = 2 << 30  # [bytes] of text that an accelerator holds; more of it is read from the disk chunk by chunk
COUNTED_AT_ONCE = 1 << 24  # [bytes]
AT_ONCE = 8 << 20  # [bytes] read for an accelerator in one piece


class TextFile:
    """A file as it was opened, to be read at any place. Raises: DataError if it cannot be read or is empty."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.abspath(os.path.expanduser(path)))
        self.stamp = hashes.stamp(self.path)
        if self.stamp.size == 0:
            raise DataError(f"{self.path} is empty; name a file that holds text")
        self._open()
        self._sha256: str | None = None

    def __len__(self) -> int:
        return self.stamp.size

    def _open(self) -> None:
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error}; name a file that can") from None
        self._close = weakref.finalize(self, os.close, self._descriptor)
        if hashes.stamp_of(os.fstat(self._descriptor)) != self.stamp:  # the name stands for another file by now
            raise self._changed()

    def read(self, start: int, stop: int) -> Bytes:
        """The bytes [start, stop), within the file. Raises: DataError if it has become shorter, or the disk fails."""
        read = np.empty(stop - start, dtype=np.uint8)
        done = 0
        while done < len(read):
            try:
                piece = os.pread(self._descriptor, len(read) - done, start + done)
            except OSError as error:
                raise DataError(f"{self.path} cannot be read: {hashes.reason_of(error)}") from None
            if not piece:
                raise self._changed()
            read[done : done + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
            done += len(piece)
        return read

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
        self._accept(*hashes.sha256(self.path))

    def verify_content(self) -> None:
        """Hash the file once more: a page that a program changed in memory may not show in the stamp yet.

        Raises: DataError if the content is no longer what was opened.
        """
        opened = self.sha256
        seen, digest = hashes.sha256(self.path, remembered=False)
        if digest != opened:
            raise self._changed()
        self._accept(seen, digest)

    def _accept(self, seen: hashes.Stamp, digest: str) -> None:
        if digest != self._sha256:
            raise self._changed()
        replaced, self.stamp = seen.inode != self.stamp.inode, seen
        if replaced:  # from now on read the file of that name, whatever becomes of the old one
            self._close()
            self._open()

    def _changed(self) -> DataError:
        return DataError(
            f"{self.path} changed while it was in use; put its old content back and resume, or start a new run"
        )


@dataclass(frozen=True)
class Split:
    """A stretch of a file: what is trained on, validated on, or tested on."""

    name: str
    file: TextFile
    start: int  # [bytes]
    stop: int  # [bytes]

    @property
    def bytes(self) -> Bytes:
        """(n,), read from the file."""
        return self.file.read(self.start, self.stop)

    def __len__(self) -> int:
        return self.stop - self.start

    def counts(self) -> npt.NDArray[np.int64]:
        """(256,): how often each byte stands in it."""
        counts = np.zeros(VOCABULARY, dtype=np.int64)
        for start in range(0, len(self), COUNTED_AT_ONCE):
            counts += np.bincount(self[start : start + COUNTED_AT_ONCE].bytes, minlength=VOCABULARY)
        return counts

    def unigram_bpc(self) -> float:
        """Entropy of its single bytes [bits/byte]: the BPC of the best prediction that looks at nothing.

        Source: Shannon 1951, "Prediction and entropy of printed English", F_1.
        """
        counts = self.counts()
        shares = counts[counts > 0] / len(self)
        return float(-(shares * np.log2(shares)).sum()) + 0.0

    def head(self, batch_size: int, limit: int | None) -> "Split":
        """About the first so many bytes, and enough for so many sequences; all of it without a limit."""
        return self if limit is None else self[: max(limit, 2 * batch_size)]

    def parts(self, batch_size: int, limit: int | None, device: torch.device) -> Sequence[Portion]:
        return [Portion(Batches(self.head(batch_size, limit), batch_size).to(device), range(1))]

    def scored(self, batch_size: int, limit: int | None) -> dict[str, int]:
        return {"bytes_scored": (len(self.head(batch_size, limit)) // batch_size - 1) * batch_size}

    def __getitem__(self, part: slice) -> "Split":
        """The stretch `split[start:stop]`; nothing is read."""
        start, stop, step = part.indices(len(self))
        assert step == 1
        return Split(self.name, self.file, self.start + start, self.start + max(start, stop))


def whole(file: TextFile) -> Split:
    """All of a file."""
    return Split("all", file, 0, len(file))


@dataclass(eq=False)
class Corpus:
    """Three splits of a text under one name; see `rnnlab.data.source.Source`."""

    vocabulary: ClassVar[int] = VOCABULARY
    task: ClassVar[None] = None

    name: str
    train: Split
    valid: Split
    test: Split

    def split(self, name: str) -> Split:
        """train, valid, test, or all: the file that they were cut from. Raises: ConfigError for any other."""
        if name == "all":
            if len(self.files) > 1:
                raise ConfigError(f"{self.name} has {len(self.files)} files; name one of the splits train, valid, test")
            return whole(self.train.file)
        if name not in SPLITS:
            raise ConfigError(f"no split {name!r}; the splits are {', '.join(SPLITS)}")
        chosen: Split = getattr(self, name)
        return chosen

    def training(self, batch_size: int, shard: tuple[int, int], device: torch.device) -> "Batches":
        return Batches(self.train, batch_size, shard).to(device)

    def unseen(self) -> Tensor:
        return torch.from_numpy(self.train.counts() == 0)

    @property
    def files(self) -> list[TextFile]:
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

    def verify_content(self) -> None:
        """Raises: DataError if a file, hashed once more, is no longer what was opened."""
        for file in self.files:
            file.verify_content()


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
        self.split, self.batch_size = split, batch_size
        self.length = len(split) // batch_size  # [bytes] of a sequence; positions 0 .. length - 2 can be predicted from
        self.count = batch_size // ranks
        self.first = rank * self.count
        self.resident: Tensor | None = None

    @property
    def epoch(self) -> int:
        return self.positions(0) * self.batch_size

    def mean_chunk(self, bptt: int) -> float:
        return bptt

    def positions(self, reading: int) -> int:
        return self.length - 1

    def weight(self, chunk: Chunk) -> float:
        return chunk.length

    def read(self, chunk: Chunk) -> Read:
        return Read(*self.chunk(chunk.position, chunk.length))

    def held(self) -> Sequence[Tensor]:
        return () if self.resident is None else (self.resident,)

    def to(self, device: torch.device | str) -> "Batches":
        """The same, held on an accelerator as uint8 so that chunks are cut there.

        On the CPU, and beyond MOST_RESIDENT bytes, the text stays on the disk. On the meta device, without numbers,
        nothing is read.
        """
        if torch.device(device).type == "cpu" or self.count * self.length > MOST_RESIDENT:
            return self
        resident = torch.empty((self.count, self.length), dtype=torch.uint8, device=device)
        for start in range(0, 0 if resident.is_meta else self.length, AT_ONCE // self.count or 1):
            self.split.file.verify()
            stop = min(self.length, start + (AT_ONCE // self.count or 1))
            resident[:, start:stop] = torch.from_numpy(self._read(start, stop)).to(device)
        moved = copy.copy(self)
        moved.resident = resident
        return moved

    def _read(self, start: int, stop: int) -> Bytes:
        """(count, stop - start): positions [start, stop) of the sequences of this process."""
        first = self.split.start + self.first * self.length
        begins = range(first, first + self.count * self.length, self.length)
        return np.stack([self.split.file.read(begin + start, begin + stop) for begin in begins])

    def chunk(self, position: int, length: int) -> tuple[Tensor, Tensor]:
        """inputs (T, B) at positions [position, position + length) of each sequence, and targets (T, B) one byte later.

        int64, contiguous, time-major; position + length <= self.length - 1.

        Raises: DataError if the file changed since it was opened.
        """
        assert 0 <= position < position + length <= self.length - 1
        self.split.file.verify()
        stop = position + length + 1
        if self.resident is not None:
            window = self.resident[:, position:stop].t().to(torch.int64, memory_format=torch.contiguous_format)
        else:
            window = torch.from_numpy(np.ascontiguousarray(self._read(position, stop).T, dtype=np.int64))
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

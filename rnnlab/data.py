"""Corpora as bytes: mapped files, their splits, and the lanes a recurrent model reads them in.

A corpus is never copied into the process. Named corpora are used only if their SHA-256 is the published one, and a file
that changes under a run is noticed before the next chunk is cut from it.
"""

import copy
import hashlib
import mmap
import os
import random
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rnnlab import cache, registry, rng
from rnnlab.errors import ConfigError, DataError

Bytes = npt.NDArray[np.uint8]

RELEASE_AFTER = 8 << 20
"""Bytes read through a mapping before its pages are given back [bytes]; they stay in the system's cache.

One access may map a page of 2 MB, so that a stream of any length keeps at most this and 2 MB a lane in the process.
"""

MIN_CORPUS = 40
"""Least size of a corpus that is to be split [bytes]: 5% of it are two bytes, one input and one target."""


class MappedFile:
    """A file as it was when it was opened: its bytes, mapped and read-only, and the means to notice a change.

    Raises: DataError if it cannot be read or holds nothing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.abspath(os.path.expanduser(path)))
        self.stamp = cache.stamp(self.path)
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
            seen, digest = cache.sha256(self.path)
            if seen != self.stamp:
                raise self._changed()
            self._sha256 = digest
        return self._sha256

    def verify(self) -> None:
        """One look at the stamp. A file that was only touched, or replaced by its equal, is accepted.

        Raises: DataError if the content is no longer what was opened, or was never hashed and may not be.
        """
        seen = cache.stamp(self.path)
        if seen == self.stamp:
            return
        if self._sha256 is None or seen.size != self.stamp.size:
            raise self._changed()
        seen, digest = cache.sha256(self.path)
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


class Corpus:
    """Three splits under one name."""

    def __init__(self, name: str, train: Split, valid: Split, test: Split) -> None:
        self.name = name
        self.train = train
        self.valid = valid
        self.test = test

    def split(self, name: str) -> Split:
        """Raises: ConfigError if it is none of train, valid, test."""
        if name not in ("train", "valid", "test"):
            raise ConfigError(f"no split {name!r}; the splits are train, valid and test")
        chosen: Split = getattr(self, name)
        return chosen

    @property
    def files(self) -> list[MappedFile]:
        """The files the splits lie in, each once."""
        return list({id(split.file): split.file for split in (self.train, self.valid, self.test)}.values())

    @property
    def sha256(self) -> str:
        """Of the file; with separate files, of their three hashes in the order train, valid, test."""
        hashes = [file.sha256 for file in self.files]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()

    def verify(self) -> None:
        """Raises: DataError if a file is no longer what was opened."""
        for file in self.files:
            file.verify()


def cut(name: str, file: MappedFile) -> Corpus:
    """The first 90% of a file to train on, the next 5% to validate on, the rest to test on, by byte.

    Raises: DataError if that leaves a split without a byte to predict.
    """
    size = len(file.bytes)
    if size < MIN_CORPUS:
        raise DataError(
            f"{file.path} holds {size} of the {MIN_CORPUS} bytes that a cut 90/5/5 takes at least; name a longer text"
        )
    train, valid = size * 9 // 10, size // 20
    return Corpus(
        name,
        Split("train", file, 0, train),
        Split("valid", file, train, train + valid),
        Split("test", file, train + valid, size),
    )


class Lanes:
    """A split cut in B contiguous lanes of equal length, read side by side; the few bytes left over are not used.

    Args:
        split: what is read.
        lanes: B, over all ranks [lanes].
        shard: (rank, ranks); this process holds lanes [rank B / ranks, (rank + 1) B / ranks).
    Raises: ConfigError if B is not a positive multiple of ranks; DataError if a lane would have no byte to predict.
    """

    def __init__(self, split: Split, lanes: int, shard: tuple[int, int] = (0, 1)) -> None:
        rank, ranks = shard
        assert 0 <= rank < ranks
        if lanes < 1 or lanes % ranks:
            raise ConfigError(
                f"{lanes} lanes cannot be shared evenly by {ranks} ranks; take a positive multiple of {ranks}"
            )
        if len(split) < 2 * lanes:
            raise DataError(
                f"{split.file.path}: the {split.name} split has {len(split)} bytes, too few for {lanes} lanes of "
                f"2 bytes or more; take a larger corpus or fewer lanes"
            )
        self.split = split
        self.length = len(split) // lanes  # [bytes] of a lane; positions 0 .. length - 2 can be predicted from
        self.count = lanes // ranks
        self.first = rank * self.count
        start = self.first * self.length
        self._bytes = split.bytes[start : start + self.count * self.length].reshape(self.count, self.length)
        self._resident: Tensor | None = None
        self._unreleased = 0

    def to(self, device: torch.device | str) -> "Lanes":
        """These lanes, held on an accelerator as uint8 so that chunks are cut there; on the CPU they stay mapped."""
        device = torch.device(device)
        if device.type == "cpu":
            return self
        resident = torch.empty(self._bytes.shape, dtype=torch.uint8, device=device)
        for lane, data in zip(resident, self._bytes, strict=True):
            for start in range(0, self.length, RELEASE_AFTER):
                self.split.file.verify()
                piece = data[start : start + RELEASE_AFTER].copy()  # torch warns of memory it may not write to
                lane[start : start + RELEASE_AFTER] = torch.from_numpy(piece).to(device)
                self.split.file.release()
        moved = copy.copy(self)
        moved._resident = resident
        return moved

    def chunk(self, position: int, length: int) -> tuple[Tensor, Tensor]:
        """inputs (T, B) at positions [position, position + length) of every lane, and targets (T, B) one byte later.

        int64, contiguous, time-major; position + length <= self.length - 1.

        Raises: DataError if the file changed since it was opened.
        """
        assert position >= 0
        assert length >= 1
        assert position + length <= self.length - 1
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


def chunk_length(seed: int, step: int, chunk: int, jitter: bool) -> int:
    """Length of the chunk at a step [bytes]: `chunk`, or with jitter a draw that depends on (seed, step) only.

    Source: Merity et al. 2017, arXiv:1708.02182, section 4.1: `chunk` with probability 0.95, else half of it, plus
    N(0, 5), clipped to [5, chunk]. A chunk below 5 is never lengthened.
    """
    if not jitter:
        return chunk
    draw = random.Random(rng.derive(seed, step, "chunk length"))
    base = chunk if draw.random() < 0.95 else chunk // 2
    return min(max(base + round(draw.gauss(0.0, 5.0)), 5), chunk)


@dataclass(frozen=True)
class Published:
    """A corpus that others publish: where it is, and what it has to be."""

    name: str
    url: str
    size: int  # [bytes] unpacked
    sha256: str = field(repr=False)

    def open(self) -> Corpus:
        """The corpus, from the cache.

        Raises: DataError if it is not there or is not the one that was published.
        """
        path = cache.folder() / self.name
        if not path.exists():
            raise DataError(
                f"{self.name} is not in {path.parent}; `rnnlab fetch {self.name}` downloads it, "
                f"`rnnlab fetch {self.name} --from FILE` takes it from a zip or a raw file"
            )
        file = MappedFile(path)
        if file.sha256 != self.sha256:
            raise DataError(
                f"{path} is not {self.name}: its SHA-256 is {file.sha256}, not {self.sha256}; "
                f"`rnnlab fetch {self.name}` replaces it"
            )
        return cut(self.name, file)


PUBLISHED = {
    corpus.name: corpus
    for corpus in (
        Published(
            "enwik8",
            "http://mattmahoney.net/dc/enwik8.zip",
            100_000_000,
            "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
        ),
        Published(
            "text8",
            "http://mattmahoney.net/dc/text8.zip",
            100_000_000,
            "6e890197040d37d85beb962ae1f041ff1d9a9ca8d20c7d99c85027eebf51dca7",
        ),
    )
}


@registry.register("corpus")
def Enwik8() -> Corpus:
    """The first 10^8 bytes of an English Wikipedia dump of 2006, split 90/5/5 MB.

    Source: Mahoney, "About the Test Data", mattmahoney.net/dc/textdata.html.
    Raises: DataError if it was not fetched, or is not the one that was published.
    """
    return PUBLISHED["enwik8"].open()


@registry.register("corpus")
def Text8() -> Corpus:
    """Wikipedia reduced to the letters a-z and the space, 10^8 bytes, split 90/5/5 MB.

    Source: Mahoney, "About the Test Data", mattmahoney.net/dc/textdata.html.
    Raises: DataError if it was not fetched, or is not the one that was published.
    """
    return PUBLISHED["text8"].open()


@registry.register("corpus")
def PythonStdlib() -> Corpus:
    """The sources of the standard library of the running Python, about 12 MB, split 90/5/5: needs no download.

    Raises: DataError if this Python carries no sources or the cache cannot be written.
    """
    return cut("python_stdlib", MappedFile(build_python_stdlib()))


@registry.register("corpus")
def File(path: str = "", valid: str | None = None, test: str | None = None) -> Corpus:
    """Any file, read as bytes: split 90/5/5, or with files of its own to validate and test on.

    Args:
        path: what is trained on, and without the other two also cut from.
        valid, test: both or neither.
    Raises: ConfigError if no path or only one of the two is given; DataError if a file cannot serve.
    """
    if not path:
        raise ConfigError("File.path is not set; name the file with --corpus FILE or --set \"File.path = 'FILE'\"")
    if (valid is None) != (test is None):
        raise ConfigError("File.valid and File.test go together; set both, or neither and the file is cut 90/5/5")
    train = MappedFile(path)
    if valid is None or test is None:
        return cut(train.path.name, train)
    files = {"train": train, "valid": MappedFile(valid), "test": MappedFile(test)}
    splits = {name: Split(name, file, 0, len(file.bytes)) for name, file in files.items()}
    return Corpus(train.path.name, **splits)


def build_python_stdlib() -> Path:
    """Where the joined sources of the standard library lie; joined at the first call for a version of Python."""
    version = f"{sys.implementation.name}-{sys.version.split()[0]}"
    path = cache.folder() / f"python_stdlib-{version}.txt"
    if _is_whole(path):
        return path
    with cache.locked(path.name):
        if not _is_whole(path):  # another process may have built it while this one waited
            with cache.publication(path) as file:
                for source in _stdlib_sources(Path(sysconfig.get_path("stdlib"))):
                    file.write(source.read_bytes())
                if file.size < 1_000_000:
                    raise DataError(f"{sys.executable} carries no library sources; name a text with --corpus FILE")
            with cache.publication(_recorded_hash(path)) as record:
                record.write(f"{file.sha256}  {path.name}\n".encode())  # as sha256sum writes and checks it
    return path


def _is_whole(path: Path) -> bool:
    record = _recorded_hash(path)
    return path.is_file() and record.is_file() and record.read_text().split()[:1] == [cache.sha256(path)[1]]


def _recorded_hash(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _stdlib_sources(root: Path) -> Iterator[Path]:
    """By relative path, without what is installed beside the library, tests, and what a machine's build wrote."""
    apart = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
    sources = (path.relative_to(root) for path in root.rglob("*.py"))
    kept = [path for path in sources if not apart.intersection(path.parts)]
    generated = re.compile(r"config-|_sysconfigdata|sitecustomize\.py")
    for path in sorted(kept, key=Path.as_posix):
        if not generated.match(path.parts[0]):
            yield root / path


def corpus_bindings(name_or_path: str) -> list[str]:
    """The gin bindings that `--corpus NAME_OR_PATH` stands for. A name wins over a file of that name: write `./name`.

    Raises: DataError if it is neither a corpus nor a file, with the nearest name.
    """
    named = _named_corpora()
    part = named.get(name_or_path.lower().replace("-", "_"))
    if part is not None:
        return [f"Trainer.corpus = @{part.selector}"]
    path = Path(os.path.abspath(os.path.expanduser(name_or_path)))
    if not os.path.lexists(path):
        looks_like_a_name = not {".", os.sep} & {*name_or_path}
        nearest = registry.did_you_mean(name_or_path, named) if looks_like_a_name else ""
        hint = nearest or f"; the corpora are {', '.join(named)}, or name a file"
        raise DataError(f"no corpus and no file {name_or_path!r}{hint}")
    return ["Trainer.corpus = @corpus.File", f"File.path = {str(path)!r}"]


def open_corpus(name_or_path: str) -> Corpus:
    """The corpus of that name, or the file at that path split 90/5/5.

    Raises: DataError if there is neither, or it cannot be used.
    """
    part = _named_corpora().get(name_or_path.lower().replace("-", "_"))
    if part is None:
        corpus_bindings(name_or_path)  # says what is wrong with a name that is none
        return File(name_or_path)
    corpus: Corpus = part.factory()
    return corpus


def _named_corpora() -> dict[str, registry.Part]:
    """{enwik8, python_stdlib, ...: part}: every registered corpus but the one that takes a path."""
    return {
        re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", part.name).lower(): part
        for part in registry.parts("corpus")
        if part.factory is not File
    }

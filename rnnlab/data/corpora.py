"""The corpora a configuration can name, and how a file is cut in splits.

A corpus that others publish is used only if its SHA-256 is the published one.
"""

import hashlib
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rnnlab import cache, registry
from rnnlab.console import say
from rnnlab.data import hashes
from rnnlab.data.publication import making, publication
from rnnlab.data.splits import Corpus, Split, TextFile, whole
from rnnlab.errors import ConfigError, DataError
from rnnlab.interfaces import Place

MIN_CORPUS = 40
"""Least size of a corpus that is to be split [bytes]: 5% of it are two bytes, one input and one target."""


def cut(name: str, file: TextFile) -> Corpus:
    """By byte: 90% of a file to train on, 5% to validate on, the rest to test on. Raises: DataError if too short."""
    size = len(file)
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


@dataclass(frozen=True)
class Published:
    """A corpus that others publish: where it is, and what it has to be."""

    name: str
    url: str
    size: int  # [bytes] unpacked
    sha256: str = field(repr=False)

    def open(self) -> Corpus:
        """The corpus, from the cache. Raises: DataError if it is not there or is not the one that was published."""
        path = cache.folder() / self.name
        if not path.exists():
            raise DataError(
                f"{self.name} is not in {path.parent}; `rnnlab fetch {self.name}` downloads it, "
                f"`rnnlab fetch {self.name} --from FILE` takes it from a zip or a raw file"
            )
        file = TextFile(path)
        if file.sha256 != self.sha256:
            raise DataError(
                f"{path} is not {self.name}: its SHA-256 is {file.sha256}, not {self.sha256}; "
                f"`rnnlab fetch {self.name}` replaces it"
            )
        return cut(self.name, file)


PUBLISHED = {
    name: Published(name, f"http://mattmahoney.net/dc/{name}.zip", 100_000_000, sha256)
    for name, sha256 in {
        "enwik8": "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
        "text8": "6e890197040d37d85beb962ae1f041ff1d9a9ca8d20c7d99c85027eebf51dca7",
    }.items()
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
    return cut("python_stdlib", TextFile(build_python_stdlib()))


@registry.register("corpus")
def File(path: Place | None = None, valid: Place | None = None, test: Place | None = None) -> Corpus:
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
    train = _opened(path)
    if valid is None or test is None:
        return cut(train.path.name, train)
    files = {"train": train, "valid": _opened(valid), "test": _opened(test)}
    splits = {name: Split(name, file, 0, len(file)) for name, file in files.items()}
    return Corpus(train.path.name, **splits)


PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd",
          b"7z\xbc\xaf": "7z", b"\x04\x22\x4d\x18": "lz4"}  # fmt: skip
"""What files begin with that are packed."""


def _opened(path: str | Path) -> TextFile:
    """A file of the user; says if it is a packed one."""
    file = TextFile(path)
    begins = file.read(0, min(8, len(file))).tobytes()
    if kind := next((kind for magic, kind in PACKED.items() if begins.startswith(magic)), None):
        say(f"{file.path} is packed ({kind}), and is read as it is; unpack it if its text is meant")
    return file


def build_python_stdlib() -> Path:
    """Where the joined sources of the standard library lie; joined at the first call for a version of Python."""
    version = f"{sys.implementation.name}-{sys.version.split()[0]}"
    path = cache.folder() / f"python_stdlib-{version}.txt"
    if _is_whole(path):
        return path
    with making(path.name):
        if not _is_whole(path):  # another process may have built it while this one waited
            with publication(path) as file:
                for source in _stdlib_sources():
                    file.write(source.read_bytes())
                if file.size < 1_000_000:
                    raise DataError(f"{sys.executable} carries no library sources; name a text with --corpus FILE")
            _record(path, file.sha256)
    return path


def _is_whole(path: Path) -> bool:
    """Whether a file holds the sources: by the hash in our record, or without one by joining them once more."""
    if not path.is_file():
        return False
    digest = hashes.sha256(path)[1]
    with suppress(OSError), cache.open_own(_recorded_hash(path)) as record:
        return record.read(len(digest)) == digest.encode()
    joined = hashlib.sha256()
    for source in _stdlib_sources():
        joined.update(source.read_bytes())
    if digest != joined.hexdigest():
        return False
    _record(path, digest)
    return True


def _record(path: Path, digest: str) -> None:
    with suppress(OSError):
        hashes.write_note(_recorded_hash(path), f"{digest}  {path.name}\n")  # as sha256sum writes and checks it


def _recorded_hash(path: Path) -> Path:
    """Raises: OSError if there is no folder for it."""
    return cache.own_folder(path.parent) / (path.name + ".sha256")


def _stdlib_sources() -> Iterator[Path]:
    """By relative path, without what is installed beside the library, tests, and what a machine's build wrote."""
    root = Path(sysconfig.get_path("stdlib"))
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
    found = _find(name_or_path)
    if isinstance(found, registry.Part):
        return [f"Trainer.source = @{found.selector}"]
    return ["Trainer.source = @corpus.File", f"File.path = {str(found)!r}"]


def open_corpus(name_or_path: str) -> Corpus:
    """The named corpus, or the file at that path split 90/5/5. Raises: DataError if neither is there or can be used."""
    found = _find(name_or_path)
    corpus: Corpus = found.factory() if isinstance(found, registry.Part) else File(Place(str(found)))
    return corpus


def open_split(name_or_path: str, split: str) -> Split:
    """The same, one split of it; all of a file may be too short to be cut.

    Raises: as `open_corpus`; ConfigError if there is no such split.
    """
    if split == "all" and isinstance(found := _find(name_or_path), Path):
        return whole(_opened(found))
    return open_corpus(name_or_path).split(split)


def _find(name_or_path: str) -> registry.Part | Path:
    """The part of a name such as python_stdlib, or the file. Raises: DataError with the nearest name."""
    named = {
        re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", part.name).lower(): part
        for part in registry.parts("corpus")
        if part.factory is not File
    }
    if (part := named.get(name_or_path.lower().replace("-", "_"))) is not None:
        return part
    path = Path(os.path.abspath(os.path.expanduser(name_or_path)))
    if os.path.lexists(path):
        return path
    looks_like_a_name = not {".", os.sep} & {*name_or_path}
    nearest = registry.did_you_mean(name_or_path, named) if looks_like_a_name else ""
    hint = nearest or f"; the corpora are {', '.join(named)}, or name a file"
    raise DataError(f"no corpus and no file {name_or_path!r}{hint}")

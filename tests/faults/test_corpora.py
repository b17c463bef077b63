"""F12: corpora that are broken, hostile, or change under the reader. The table below says what comes of each."""

import contextlib
import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from rnnlab.data.corpora import File, Published
from rnnlab.data.fetch import obtain
from rnnlab.data.splits import Batches, Corpus
from rnnlab.errors import DataError

pytestmark = pytest.mark.faults

BATCH_SIZE = 8
TEXT = np.random.default_rng(0).integers(97, 123, 100_000, dtype=np.uint8).tobytes()
NAMED = Published("named", "http://127.0.0.1:9/named.zip", len(TEXT), hashlib.sha256(TEXT).hexdigest())
READ = "read to its end"


def read(corpus: Corpus) -> None:
    """What a run does with a corpus: hash it, then read every split in sequences."""
    assert corpus.sha256
    for split in (corpus.train, corpus.valid, corpus.test):
        batches = Batches(split, BATCH_SIZE)
        inputs, _ = batches.chunk(0, batches.length - 1)
        assert inputs[:, 0].tolist() == list(split.bytes[: batches.length - 1])
    corpus.verify()


def read_file(folder: Path, content: bytes) -> None:
    path = folder / "text"
    path.write_bytes(content)
    read(File(str(path)))


def empty(folder: Path) -> None:
    read_file(folder, b"")


def one_byte(folder: Path) -> None:
    read_file(folder, b"x")


def shorter_than_the_batch(folder: Path) -> None:
    read_file(folder, TEXT[:300])


def nothing_but_nuls(folder: Path) -> None:
    read_file(folder, bytes(50_000))


def one_endless_line(folder: Path) -> None:
    read_file(folder, TEXT.replace(b"\n", b" "))


def a_folder(folder: Path) -> None:
    (folder / "text").mkdir()
    read(File(str(folder / "text")))


def a_dangling_link(folder: Path) -> None:
    (folder / "text").symlink_to(folder / "gone")
    read(File(str(folder / "text")))


def a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "text")  # opening it would wait for a writer for ever
    read(File(str(folder / "text")))


def an_unreadable_file(folder: Path) -> None:
    path = folder / "text"
    path.write_bytes(TEXT)
    path.chmod(0)
    with without_privileges():
        read(File(str(path)))


def changed_while_in_use(folder: Path) -> None:
    path = folder / "text"
    path.write_bytes(TEXT)
    corpus = File(str(path))
    read(corpus)
    with open(path, "r+b") as file:
        file.seek(50_000)
        file.write(b"ONE WORD")
    read(corpus)


def shortened_while_in_use(folder: Path) -> None:
    path = folder / "text"
    path.write_bytes(TEXT)
    corpus = File(str(path))
    batches = Batches(corpus.train, BATCH_SIZE)
    batches.chunk(0, 10)
    os.truncate(path, 10)
    batches.chunk(batches.length - 20, 10)  # beyond the end of the file: an access would kill the process


def a_named_corpus_with_another_hash(folder: Path) -> None:
    (folder / "cache").mkdir()
    (folder / "cache" / "named").write_bytes(TEXT[:-1] + b"!")
    read(NAMED.open())


def fetch_archive(folder: Path, archive: bytes) -> None:
    (folder / "archive.zip").write_bytes(archive)
    obtain(NAMED, folder / "archive.zip")


def a_truncated_zip(folder: Path) -> None:
    fetch_archive(folder, zipped("named", TEXT)[:-1000])


def a_zip_that_escapes_its_folder(folder: Path) -> None:
    fetch_archive(folder, zipped("../../escaped", TEXT))


def a_zip_bomb(folder: Path) -> None:
    fetch_archive(folder, zipped("named", bytes(100_000_000)))


def a_zip_bomb_that_understates_itself(folder: Path) -> None:
    archive = zipped("named", bytes(100_000_000))
    fetch_archive(folder, archive.replace((100_000_000).to_bytes(4, "little"), NAMED.size.to_bytes(4, "little")))


OUTCOMES: dict[Callable[[Path], None], str] = {
    empty: r"text is empty; name a file that holds text",
    one_byte: r"text holds 1 of the 40 bytes that a cut 90/5/5 takes at least",
    shorter_than_the_batch: r"text: the valid split has 15 bytes, too few for 8 sequences of 2 bytes or more",
    nothing_but_nuls: READ,
    one_endless_line: READ,
    a_folder: r"text is a folder; name a single file in it",
    a_dangling_link: r"text is a link to .*gone, which does not exist",
    a_pipe: r"text is a pipe, a socket or a device",
    an_unreadable_file: r"text cannot be read: permission denied",
    changed_while_in_use: r"text changed while it was in use; put its old content back and resume",
    shortened_while_in_use: r"text changed while it was in use",
    a_named_corpus_with_another_hash: r"named is not named: its SHA-256 is \w{64}, not \w{64}; `rnnlab fetch named`",
    a_truncated_zip: r"archive\.zip is a damaged zip",
    a_zip_that_escapes_its_folder: r"archive\.zip holds '\.\./\.\./escaped', where the one file 'named' was expected",
    a_zip_bomb: r"archive\.zip unpacks to more than the 100,000 bytes of named",
    a_zip_bomb_that_understates_itself: r"archive\.zip is a damaged zip",
}


@pytest.mark.parametrize("fault", OUTCOMES, ids=lambda fault: fault.__name__)
def test_a_bad_corpus_is_read_or_refused_in_one_line(
    fault: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    inside = outside / "here" / "inside"
    inside.mkdir(parents=True)
    monkeypatch.setenv("RNNLAB_DATA", str(inside / "cache"))
    if OUTCOMES[fault] == READ:
        fault(inside)
    else:
        with pytest.raises(DataError, match=OUTCOMES[fault]) as caught:
            fault(inside)
        assert caught.value.exit_code == 3
        assert "\n" not in str(caught.value)
    assert {path.name for path in outside.rglob("*") if not path.is_relative_to(inside)} == {"here"}
    assert {path.name for path in inside.iterdir()} <= {"text", "archive.zip", "cache"}
    if fault is not a_named_corpus_with_another_hash:
        assert not list(inside.glob("cache/*named"))


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """Permissions do not bind root, so that root becomes nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)

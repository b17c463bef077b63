"""Bringing a published corpus into the cache from a file that is already here."""

import hashlib
import io
import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rnnlab.data import hashes
from rnnlab.data.corpora import PUBLISHED, Published
from rnnlab.data.fetch import Patience, fetch, obtain
from rnnlab.errors import DataError
from tests.rnnlab.small_texts import written

CONTENT = np.random.default_rng(0).integers(97, 123, 200_000, dtype=np.uint8).tobytes()
TINY = Published("tiny", "http://127.0.0.1:9/tiny.zip", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def holdings(folder: Path) -> list[str]:
    """What the cache holds beside its locks and notes."""
    return sorted(path.name for path in folder.iterdir() if path.name != "stamps" and path.suffix != ".lock")


@pytest.mark.parametrize(
    "content",
    [CONTENT, zipped({"tiny": CONTENT}), zipped({"tiny": CONTENT}, zipfile.ZIP_STORED)],
    ids=["raw", "deflated", "stored"],
)
def test_a_zip_or_a_raw_file_is_published(tmp_path: Path, own_cache: Path, content: bytes) -> None:
    path = obtain(TINY, written(tmp_path / "given", content))
    assert path == own_cache / "tiny"
    assert path.read_bytes() == CONTENT
    assert holdings(own_cache) == ["tiny"]
    corpus = TINY.open()
    assert corpus.sha256 == TINY.sha256
    assert [len(split) for split in (corpus.train, corpus.valid, corpus.test)] == [180_000, 10_000, 10_000]


def test_what_is_already_there_is_left_alone(tmp_path: Path) -> None:
    path = obtain(TINY, written(tmp_path / "given", CONTENT))
    before = hashes.stamp(path)
    assert obtain(TINY) == path
    assert obtain(TINY, tmp_path / "no such file") == path
    assert hashes.stamp(path) == before


def test_a_damaged_corpus_is_refused_and_replaced(tmp_path: Path) -> None:
    path = obtain(TINY, written(tmp_path / "given", CONTENT))
    with open(path, "r+b") as file:
        file.write(b"!")
    with pytest.raises(
        DataError, match=r"tiny is not tiny: its SHA-256 is \w+, not \w+; `rnnlab fetch tiny` replaces it"
    ):
        TINY.open()
    obtain(TINY, tmp_path / "given")
    assert TINY.open().sha256 == TINY.sha256


def test_a_wrong_file_leaves_the_cache_as_it_was(tmp_path: Path, own_cache: Path) -> None:
    own_cache.mkdir()
    path = written(own_cache / "tiny", b"an older, wrong file")
    with pytest.raises(DataError, match="given is not tiny: 200,000 bytes with SHA-256"):
        obtain(TINY, written(tmp_path / "given", bytes(len(CONTENT))))
    assert path.read_bytes() == b"an older, wrong file"
    assert holdings(own_cache) == ["tiny"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"given \(0 bytes\) is neither a zip nor the 200,000 bytes of tiny"),
        (CONTENT[:-1], r"given \(199,999 bytes\) is neither"),
        (b"PK", "damaged zip"),
        (zipped({}), "holds nothing, where the one file 'tiny' was expected"),
        (zipped({"other": CONTENT}), "holds 'other', where the one file 'tiny' was expected"),
        (zipped({"tiny": CONTENT, "more": b"x"}), "holds 'tiny', 'more', where"),
        (zipped({"tiny": CONTENT[:-1]}), "given is not tiny: 199,999 bytes with SHA-256"),
        (zipped({"tiny": CONTENT + b"x"}), "unpacks to more than the 200,000 bytes of tiny"),
        (zipped({"tiny": CONTENT}, zipfile.ZIP_LZMA), "encrypted or packed in an uncommon way"),
        (zipped({"tiny": bytes(2_000_000)}, zipfile.ZIP_STORED), "larger than tiny itself"),
    ],
    ids=[
        "empty",
        "short",
        "two bytes",
        "no member",
        "other member",
        "two members",
        "short member",
        "long member",
        "lzma",
        "large",
    ],
)
def test_what_is_not_the_corpus_is_refused(tmp_path: Path, own_cache: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        obtain(TINY, written(tmp_path / "given", content))
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert holdings(own_cache) == []


@pytest.mark.slow
def test_a_zip_damaged_anywhere_is_refused_or_still_right(tmp_path: Path, own_cache: Path) -> None:
    good = zipped({"tiny": CONTENT})
    draw = np.random.default_rng(1)
    headers = [*range(60), *range(len(good) - 120, len(good))]
    for place in [*draw.integers(0, len(good), 100), *draw.choice(headers, 100)]:
        bad = bytearray(good)
        bad[place] ^= 1 << int(draw.integers(8))
        try:
            obtain(TINY, written(tmp_path / "given", bytes(bad)))
        except DataError:
            assert holdings(own_cache) == []
        else:
            (own_cache / "tiny").unlink()  # only a field that nobody reads was hit: the hash was right


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"nothing to fetch under the name 'enwik9'.*did you mean 'enwik8'"):
        fetch("enwik9")
    with pytest.raises(DataError, match="a file needs no fetching: train with --corpus FILE"):
        fetch("/some/file")


@pytest.mark.long
def test_the_embedded_corpus_is_built_in_place_of_a_download(own_cache: Path) -> None:
    assert fetch("Python_Stdlib").parent == own_cache


def test_an_offline_machine_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"http://127.0.0.1:9/tiny.zip: .*refused.*`rnnlab fetch tiny --from FILE`"):
        obtain(TINY, patience=Patience(timeout=1, retries=1, backoff=0.01))
    monkeypatch.setenv("RNNLAB_MIRROR", "file:///etc")
    with pytest.raises(DataError, match=r"'file:///etc/enwik8.zip' is no http or https address"):
        fetch("enwik8")


def test_the_published_facts_are_those_of_the_literature() -> None:
    assert {name: corpus.size for name, corpus in PUBLISHED.items()} == {"enwik8": 100_000_000, "text8": 100_000_000}
    assert PUBLISHED["enwik8"].sha256 == "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8"
    assert PUBLISHED["enwik8"].url == "http://mattmahoney.net/dc/enwik8.zip"


@pytest.mark.long
def test_a_full_disk_is_reported_and_leaves_no_piece(tmp_path: Path, own_cache: Path) -> None:
    given = written(tmp_path / "given", CONTENT)
    command = (
        "from rnnlab.data.corpora import Published\nfrom rnnlab.data.fetch import obtain\n"
        "from rnnlab.errors import DataError\n"
        f"try: obtain(Published('tiny', '', {TINY.size}, '{TINY.sha256}'), {str(given)!r})\n"
        "except DataError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", command],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        timeout=120,
    )
    assert "cannot be written: file too large; free space, or set RNNLAB_DATA" in done.stdout, done.stderr
    assert holdings(own_cache) == []

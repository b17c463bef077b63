"""Corpora: how a file is cut, what is embedded, and by which names they go."""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from rnnlab import registry
from rnnlab.data import corpora
from rnnlab.data.corpora import corpus_bindings, open_corpus
from rnnlab.data.splits import TextFile
from rnnlab.errors import ConfigError, DataError
from tests.rnnlab.small_texts import random_bytes, written

pytestmark = pytest.mark.usefixtures("own_cache")


def test_a_file_is_cut_90_5_5_by_byte(tmp_path: Path) -> None:
    content = random_bytes(3_000_000)
    corpus = corpora.File(str(written(tmp_path / "text", content)))
    assert [len(split) for split in (corpus.train, corpus.valid, corpus.test)] == [2_700_000, 150_000, 150_000]
    assert corpus.train.bytes.tobytes() + corpus.valid.bytes.tobytes() + corpus.test.bytes.tobytes() == content


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("text", content)
    return file.getvalue()


def in_zstandard(content: bytes) -> bytes:
    """A frame of a single block that is stored as it is. Source: RFC 8878, section 3.1.1."""
    assert len(content) < 2**17
    header = b"\xa0" + len(content).to_bytes(4, "little")  # one segment, whose size stands in four bytes
    return b"\x28\xb5\x2f\xfd" + header + (len(content) << 3 | 1).to_bytes(3, "little") + content


PACKERS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zip": zipped,
    "zstd": in_zstandard,
}


@pytest.mark.parametrize("argument", ["path", "valid", "test"])
@pytest.mark.parametrize("kind", PACKERS)
def test_a_packed_file_is_read_as_it_is_and_said_to_be_packed(
    kind: str, argument: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = written(tmp_path / "text", PACKERS[kind](random_bytes(1000)))
    plain = str(written(tmp_path / "plain", random_bytes(1000)))
    files = {"path": str(packed)} if argument == "path" else {"path": plain, "valid": plain, "test": plain}
    corpus = corpora.File(**{**files, argument: str(packed)})
    assert f"{packed} is packed ({kind})" in capsys.readouterr().err
    split = corpus.train if argument == "path" else corpus.split(argument)
    assert packed.read_bytes().startswith(split.bytes.tobytes())


def test_an_archive_that_is_not_packed_is_a_text_like_any(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(tmp_path / "text.tar", "w") as archive:
        archive.add(written(tmp_path / "text", random_bytes(1000)), "text")
    corpora.File(str(tmp_path / "text.tar"))
    assert capsys.readouterr().err == ""


def test_enwik8_would_be_cut_as_the_paper_cuts_it(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(corpora.PUBLISHED["enwik8"].size)
    corpus = corpora.cut("sparse", TextFile(path))
    assert [len(split) for split in (corpus.train, corpus.valid, corpus.test)] == [90_000_000, 5_000_000, 5_000_000]


def test_no_byte_is_lost_or_read_twice_at_any_size(tmp_path: Path) -> None:
    for size in (40, 41, 59, 60, 99, 1001):
        content = random_bytes(size, seed=size)
        corpus = corpora.File(str(written(tmp_path / f"text{size}", content)))
        assert b"".join(corpus.split(name).bytes.tobytes() for name in ("train", "valid", "test")) == content
        assert min(len(corpus.split(name)) for name in ("train", "valid", "test")) >= 2


def test_separate_files_are_the_splits_whole(tmp_path: Path) -> None:
    paths = [str(written(tmp_path / name, random_bytes(n))) for name, n in (("a", 50), ("b", 60), ("c", 70))]
    corpus = corpora.File(*paths)
    assert [len(corpus.split(name)) for name in ("train", "valid", "test")] == [50, 60, 70]
    hashes = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths]
    assert corpus.sha256 == hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def test_validation_and_test_files_go_together(tmp_path: Path) -> None:
    path = str(written(tmp_path / "text", bytes(100)))
    with pytest.raises(ConfigError, match=r"File\.valid and File\.test go together"):
        corpora.File(path, valid=path)
    with pytest.raises(ConfigError, match=r"File\.path is not set"):
        corpora.File()


def test_a_cache_that_cannot_be_written_does_not_stop_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNLAB_DATA", "/proc/nowhere")
    corpus = corpora.File(str(written(tmp_path / "text", bytes(100))))
    assert corpus.sha256 == hashlib.sha256(bytes(100)).hexdigest()
    with pytest.raises(DataError, match=r"/proc/nowhere cannot be written.*set RNNLAB_DATA"):
        corpora.PythonStdlib()


@pytest.mark.slow
def test_the_standard_library_is_built_once_and_its_hash_recorded(own_cache: Path) -> None:
    corpus = corpora.PythonStdlib()
    path = corpus.train.file.path
    assert path.parent == own_cache
    assert 5_000_000 < path.stat().st_size < 30_000_000
    assert corpora._recorded_hash(path).read_text() == f"{corpus.sha256}  {path.name}\n"
    inode = path.stat().st_ino
    assert corpora.PythonStdlib().sha256 == corpus.sha256
    assert path.stat().st_ino == inode
    assert [entry.name for entry in own_cache.iterdir() if entry.name.startswith(".tmp")] == []


@pytest.mark.slow
def test_the_standard_library_comes_in_order_and_without_what_is_not_its_own() -> None:
    sources = list(corpora._stdlib_sources())
    names = [source.relative_to(Path(os.__file__).parent).as_posix() for source in sources]
    assert names == sorted(names)
    assert "os.py" in names
    assert "json/decoder.py" in names
    assert not [name for name in names if "site-packages" in name or "/test/" in f"/{name}" or "_sysconfigdata" in name]


@pytest.mark.long
def test_a_damaged_standard_library_is_built_anew(own_cache: Path) -> None:
    corpus = corpora.PythonStdlib()
    path, good = corpus.train.file.path, corpus.sha256
    del corpus
    with open(path, "r+b") as file:
        file.write(b"damage")
    assert corpora.PythonStdlib().sha256 == good
    os.truncate(path, 1000)
    assert corpora.PythonStdlib().sha256 == good
    corpora._recorded_hash(path).unlink()
    assert corpora.PythonStdlib().sha256 == good


@pytest.mark.long
def test_processes_that_build_the_standard_library_at_once_agree(own_cache: Path) -> None:
    command = "from rnnlab.data.corpora import PythonStdlib; print(PythonStdlib().sha256)"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"RNNLAB_DATA": str(own_cache), "PYTHONHASHSEED": str(seed), "OMP_NUM_THREADS": "1"},
        )
        for seed in (1, 2)
    ]
    outputs = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0] != ""


@pytest.mark.slow
def test_names_are_found_whatever_their_case() -> None:
    assert corpus_bindings("Enwik8") == ["Trainer.source = @corpus.Enwik8"]
    assert corpus_bindings("TEXT8") == ["Trainer.source = @corpus.Text8"]
    assert corpus_bindings("python-stdlib") == ["Trainer.source = @corpus.PythonStdlib"]
    assert open_corpus("python_stdlib").name == "python_stdlib"


def test_a_path_is_bound_absolutely_and_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / 'it\'s "mine"', random_bytes(100))
    (corpus, path) = corpus_bindings('it\'s "mine"')
    assert corpus == "Trainer.source = @corpus.File"
    key, _, value = path.partition(" = ")
    assert key == "File.path"
    assert eval(value) == str(tmp_path / 'it\'s "mine"')
    assert open_corpus('it\'s "mine"').train.file.path == tmp_path / 'it\'s "mine"'


def test_a_file_named_like_a_corpus_needs_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "enwik8", random_bytes(100))
    assert corpus_bindings("enwik8") == ["Trainer.source = @corpus.Enwik8"]
    assert corpus_bindings("./enwik8")[1] == f"File.path = '{tmp_path}/enwik8'"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    for ask in (corpus_bindings, open_corpus):
        with pytest.raises(DataError, match="no corpus and no file 'enwik9'; did you mean 'enwik8'"):
            ask("enwik9")
        with pytest.raises(DataError, match="the corpora are enwik8, python_stdlib, text8"):
            ask("/no/such/text")


def test_a_named_corpus_that_is_not_here_says_how_to_get_it() -> None:
    with pytest.raises(DataError, match=r"enwik8 is not in .*cache; `rnnlab fetch enwik8` downloads it"):
        open_corpus("enwik8")


def test_every_corpus_is_registered_with_a_line_about_itself() -> None:
    parts = {part.name: part.summary for part in registry.parts("corpus")}
    assert {"Enwik8", "Text8", "PythonStdlib", "File"} <= set(parts)
    assert all(parts.values())

"""F29: in a folder that others can write to, no code is loaded and no hash believed but our own.

Others are played by nobody, whose files root can make; permissions do not bind root, so that root plays nobody too.
"""

import hashlib
import itertools
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import pytest
import torch

from rnnlab.data import corpora, hashes
from rnnlab.data.corpora import Published
from rnnlab.data.fetch import obtain
from rnnlab.errors import DataError
from rnnlab.ops import native
from tests.rnnlab.small_texts import random_bytes, written

pytestmark = pytest.mark.faults

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make the files of others")
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@contextmanager
def as_nobody() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that everybody can read, outside of pytest's own, which others cannot enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


# Compiled kernels


EVIL = """
#include <stdio.h>
__attribute__((constructor)) static void runs(void) { fclose(fopen("%s", "w")); }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernels, compiled once for all tests."""
    target = tmp_path_factory.mktemp("library") / "kernels.so"
    sources = map(str, sorted(native.KERNELS.glob("*.c")))
    flags = [flag for flag in native.FLAGS if flag != "-O3"]
    subprocess.run(["cc", *flags, *sources, "-o", target, "-lm"], check=True)
    return target


@pytest.fixture
def copying(library: Path, open_place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A compiler that hands out `library`, for the time that compiling takes. Returns: where it counts its calls."""
    script = open_place / "cc"
    script.write_text(
        f'#!/bin/sh\ncase "$1" in --version) exit;; esac\n'
        f"echo >> {shlex.quote(str(open_place / 'calls'))}\n"
        f'while [ "$1" != -o ]; do shift; done\nrm "$2"\ncp {shlex.quote(str(library))} "$2"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    for name in ("RNNLAB_NATIVE", "RNNLAB_MARCH"):
        monkeypatch.delenv(name, raising=False)
    native.kernels.cache_clear()
    yield open_place / "calls"
    native.kernels.cache_clear()


def computes(kernels: native.Kernels | None) -> bool:
    assert kernels is not None
    a, h = torch.full((3, 2), 0.5), torch.empty(3, 2)
    kernels.run("recurrence_forward", a, torch.ones(3, 2), torch.zeros(2), h, 3, 2)
    return h[:, 0].tolist() == [1.0, 1.5, 1.75]


def own_file_in_a_shared_folder(planted: Path) -> None:
    planted.parent.chmod(0o777)


def file_that_a_group_can_write(planted: Path) -> None:
    planted.chmod(0o775)


def file_that_all_can_write(planted: Path) -> None:
    planted.chmod(0o757)


def link_to_an_own_file(planted: Path) -> None:
    planted.symlink_to(planted.rename(planted.with_name("elsewhere")))


def file_of_another(planted: Path) -> None:
    os.chown(planted, NOBODY, NOBODY)


def folder_of_another(planted: Path) -> None:
    os.chown(planted.parent, NOBODY, NOBODY)


ANYBODY = [own_file_in_a_shared_folder, file_that_a_group_can_write, file_that_all_can_write, link_to_an_own_file]
ROOT = [file_of_another, folder_of_another]
PLANTED = [*ANYBODY, *(pytest.param(plant, marks=needs_root) for plant in ROOT)]


@needs_compiler
@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_f29_a_library_that_others_can_have_put_there_is_compiled_anew_and_never_run(
    plant: Callable[[Path], None], tmp_path: Path, copying: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("RNNLAB_CACHE", str(cache))
    ran, source, evil = tmp_path / "ran", tmp_path / "evil.c", tmp_path / "evil.so"
    source.write_text(EVIL % ran)
    subprocess.run(["cc", "-shared", "-fPIC", source, "-o", evil], check=True)
    compiler = [os.environ["CC"]]
    plant(evil.rename(cache / native._name(native._key(compiler, *compiler), evil.read_bytes())))
    assert computes(native.kernels())
    assert not ran.exists()
    native.kernels.cache_clear()
    assert computes(native.kernels())
    assert copying.read_text() == "\n", "what was compiled is ours, and found the next time"


@needs_compiler
def test_f29_where_everything_can_be_written_by_all_each_process_compiles_for_itself(
    tmp_path: Path, copying: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    own = cache / f"user-{os.geteuid()}"
    own.mkdir(parents=True)
    for folder in (cache, own):
        folder.chmod(0o777)
    monkeypatch.setenv("RNNLAB_CACHE", str(cache))
    assert computes(native.kernels())
    assert f"others can write to it: '{own}'); compiling for this process alone" in capsys.readouterr().err
    assert list(own.iterdir()) == []


@needs_compiler
def test_f29_a_folder_that_is_made_is_closed_to_others_and_a_shared_one_is_named(
    tmp_path: Path, copying: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = os.umask(0)
    try:
        monkeypatch.setenv("RNNLAB_CACHE", str(tmp_path / "made" / "cache"))
        assert computes(native.kernels())
        made = [tmp_path / "made", tmp_path / "made" / "cache"]
        capsys.readouterr()
        (tmp_path / "shared").mkdir()
        monkeypatch.setenv("RNNLAB_CACHE", str(tmp_path / "shared"))
        native.kernels.cache_clear()
        assert computes(native.kernels())
    finally:
        os.umask(before)
    own = tmp_path / "shared" / f"user-{os.geteuid()}"
    assert [folder.stat().st_mode & 0o777 for folder in [*made, own]] == [0o700] * 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"rnnlab: compiling its CPU kernels (once) into {own}; others can write to {tmp_path / 'shared'}"


@needs_compiler
@needs_root
def test_f29_a_folder_that_root_has_filled_serves_those_who_cannot_write_to_it(
    open_place: Path, copying: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = open_place / "cache"
    cache.mkdir(mode=0o755)
    monkeypatch.setenv("RNNLAB_CACHE", str(cache))
    assert computes(native.kernels())
    with as_nobody():
        native.kernels.cache_clear()
        assert computes(native.kernels())
    assert copying.read_text() == "\n"


# Corpora


TEXT = random_bytes(5000)
NAMED = Published("named", "http://127.0.0.1:9/named.zip", len(TEXT), hashlib.sha256(TEXT).hexdigest())
FALSE = TEXT[:-1] + b"?"


@pytest.fixture
def shared(open_place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of corpora that everybody can write to."""
    folder = open_place / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv("RNNLAB_DATA", str(folder))
    return folder


def noted(stamps: Path, path: Path, digest: str) -> Path:
    """A note in a folder of notes, as rnnlab writes it."""
    stamps.mkdir(parents=True, exist_ok=True)
    note = stamps / hashes._note(path).name
    note.write_text(json.dumps({"path": str(path), "stamp": hashes.stamp(path), "sha256": digest}))
    return note


@needs_root
def test_f29_a_note_that_others_planted_does_not_make_a_false_corpus_the_published_one(shared: Path) -> None:
    with as_nobody():
        false = written(shared / "named", FALSE)
        for stamps in (shared / "stamps", shared / "user-0" / "stamps"):
            stamps.mkdir(parents=True)
            (stamps / f"{hashlib.blake2b(os.fsencode(false), digest_size=16).hexdigest()}.json").write_text(
                json.dumps({"path": str(false), "stamp": hashes.stamp(false), "sha256": NAMED.sha256})
            )
    with pytest.raises(DataError, match="is not named: its SHA-256 is"):
        NAMED.open()
    given = written(shared.parent / "given", TEXT)
    assert obtain(NAMED, given).read_bytes() == TEXT


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_f29_a_note_that_others_can_write_is_not_believed(tmp_path: Path, own_cache: Path, mode: int) -> None:
    text = written(tmp_path / "text", TEXT)
    noted(own_cache / "stamps", text, "false").chmod(mode)
    assert hashes.sha256(text)[1] == NAMED.sha256


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_f29_a_note_that_is_no_file_is_neither_believed_nor_waited_for(
    tmp_path: Path, own_cache: Path, kind: str
) -> None:
    text = written(tmp_path / "text", TEXT)
    note = noted(own_cache / "stamps", text, "false")
    moved = note.rename(tmp_path / "moved")
    if kind == "link":
        note.symlink_to(moved)
    elif kind == "pipe":
        os.mkfifo(note)
    else:
        note.mkdir()
    assert hashes.sha256(text)[1] == NAMED.sha256


@needs_root
def test_f29_each_user_of_a_shared_folder_has_notes_that_hold(shared: Path) -> None:
    path = written(shared / "named", TEXT)
    for user in ("root", "nobody"):
        with as_nobody() if user == "nobody" else nullcontext():
            assert hashes.sha256(path)[1] == NAMED.sha256
            note = hashes._note(path)
            note.write_text(note.read_text().replace(NAMED.sha256, f"of {user}"))
    assert hashes.sha256(path)[1] == "of root"
    with as_nobody():
        assert hashes.sha256(path)[1] == "of nobody"


@needs_root
def test_f29_a_folder_that_root_has_filled_serves_with_its_notes(shared: Path) -> None:
    shared.chmod(0o755)
    path = obtain(NAMED, written(shared.parent / "given", TEXT))
    (note,) = (shared / "stamps").iterdir()
    with as_nobody():
        assert NAMED.open().sha256 == NAMED.sha256
        assert obtain(NAMED) == path, "no download, and no lock that nobody could make"
    note.write_text(note.read_text().replace(NAMED.sha256, "as root noted"))
    with as_nobody():
        assert hashes.sha256(path)[1] == "as root noted"


@needs_root
@pytest.mark.slow
def test_f29_a_library_text_of_another_is_used_if_it_is_the_right_one_and_whatever_its_record_says(
    shared: Path,
) -> None:
    good = corpora.PythonStdlib().sha256
    (path,) = shared.glob("python_stdlib-*.txt")
    shutil.rmtree(shared / "user-0")
    os.chown(path, NOBODY, NOBODY)
    inode = path.stat().st_ino
    assert corpora.PythonStdlib().sha256 == good
    assert path.stat().st_ino == inode, "compared with the sources, and left where it is"
    shutil.rmtree(shared / "user-0")
    with as_nobody():
        path.write_bytes(FALSE)
        (shared / "user-0").mkdir()
        for folder in (shared, shared / "user-0"):
            (folder / f"{path.name}.sha256").write_text(f"{hashlib.sha256(FALSE).hexdigest()}  {path.name}\n")
    assert corpora.PythonStdlib().sha256 == good


def test_f29_what_lies_under_the_name_of_a_staged_file_is_not_written_through(tmp_path: Path, own_cache: Path) -> None:
    own_cache.mkdir()
    victim = written(tmp_path / "victim", b"mine")
    (own_cache / ".tmp-named").symlink_to(victim)
    assert obtain(NAMED, written(tmp_path / "given", TEXT)).read_bytes() == TEXT
    assert victim.read_bytes() == b"mine"


def test_f29_a_corpus_is_never_writable_by_others(tmp_path: Path, own_cache: Path) -> None:
    before = os.umask(0)
    try:
        path = obtain(NAMED, written(tmp_path / "given", TEXT))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    assert own_cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_f29_a_name_that_others_move_about_gets_no_file_the_hash_of_another(tmp_path: Path, own_cache: Path) -> None:
    for folder in ("true", "false"):
        (tmp_path / folder).mkdir()
    places = [written(tmp_path / "true" / "text", TEXT), written(tmp_path / "false" / "text", FALSE)]
    link, over = tmp_path / "link", threading.Event()
    link.symlink_to(places[0].parent)

    def move_about() -> None:
        for turn in itertools.cycle((1, 0)):
            if over.is_set():
                return
            (tmp_path / "next").symlink_to(places[turn].parent)
            os.replace(tmp_path / "next", link)

    thread = threading.Thread(target=move_about)
    thread.start()
    stamps = {hashes.stamp(place): hashlib.sha256(place.read_bytes()).hexdigest() for place in places}
    try:
        for _ in range(1000):
            shutil.rmtree(own_cache, ignore_errors=True)
            with suppress(DataError):
                seen, digest = hashes.sha256(link / "text")
                assert stamps[seen] == digest
    finally:
        over.set()
        thread.join()

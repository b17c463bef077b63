"""F29: in a folder that others can write to, no code is loaded and no hash believed but our own.

Others are played by nobody, whose files root can make; permissions do not bind root, so that root plays nobody too.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from rnnlab.ops import native

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

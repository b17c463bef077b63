"""The lines of caches, corpora and the folder of runs: shared, read-only, full, without locks."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rnnlab.doctor import folders
from rnnlab.doctor.finding import look

IN_A_TINY_DISK = ("unshare", "--mount")


def test_a_cache_of_our_own_is_good_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    found = folders.cached("folder of kernels", "RNNLAB_CACHE", tmp_path / "cache")
    assert (found.name, found.verdict) == ("folder of kernels", "good")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_others_can_write_to_is_a_warning_with_the_command_that_mends_it(tmp_path: Path) -> None:
    shared = tmp_path / "cache"
    shared.mkdir()
    shared.chmod(0o777)
    found = folders.cached("folder of kernels", "RNNLAB_CACHE", shared)
    assert found.verdict == "warning"
    assert found.detail == f"others can write to {shared}; yours lie in {shared / f'user-{os.geteuid()}'}"
    assert found.remedy.startswith(f"chmod go-w {shared}")
    shared.chmod(0o755)
    assert folders.cached("folder of kernels", "RNNLAB_CACHE", shared).verdict == "good"


def test_a_cache_that_cannot_be_made_is_a_warning_that_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    found = folders.cached("folder of corpora", "RNNLAB_DATA", tmp_path / "file" / "cache")
    assert found.verdict == "warning"
    assert "not a directory" in found.detail
    assert "set RNNLAB_DATA" in found.remedy


def test_a_corpus_is_absent_or_bad_if_it_is_another_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RNNLAB_DATA", str(tmp_path))
    assert folders.corpus("enwik8").verdict == "absent"
    (tmp_path / "enwik8").write_bytes(b"<page>" * 1000)
    (found,) = look(lambda: folders.corpus("enwik8"))
    assert found.verdict == "bad"
    assert "rnnlab fetch enwik8" in found.remedy


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As a full disk or a quota would: nothing longer can be written [bytes]."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_folder_of_runs_is_written_to_for_real(tmp_path: Path) -> None:
    assert folders.writing("folder of runs", tmp_path).verdict == "good"
    with largest_file(1000):
        found = folders.writing("folder of runs", tmp_path)
    assert found.verdict == "bad"
    assert "ulimit -f" in found.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_runs_where_nothing_can_be_made_is_bad() -> None:
    found = folders.writing("folder of runs", Path("/proc"))
    assert found.verdict == "bad"
    assert found.remedy


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    def refuse(descriptor: int, *, blocking: bool) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("rnnlab.locks.lock_descriptor", refuse)
    run = folders.writing("folder of runs", tmp_path)
    assert run.verdict == "bad"
    assert "no file locks" in run.detail
    assert "flock" in run.remedy
    assert folders.cached("folder of corpora", "RNNLAB_DATA", tmp_path).verdict == "warning"


def test_locks_that_keep_nobody_out_are_no_locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("rnnlab.locks.lock_descriptor", lambda descriptor, *, blocking: True)
    monkeypatch.setattr("rnnlab.locks.unlock_descriptor", lambda descriptor: None)
    found = folders.writing("folder of runs", tmp_path)
    assert found.verdict == "bad"
    assert "given to a second writer" in found.detail


def test_less_space_than_a_run_of_the_papers_size_takes_is_a_warning(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert folders.space("space", tmp_path / "not" / "yet", free // 2, "a run").verdict == "good"
    found = folders.space("space", tmp_path, free * 2, "a run")
    assert found.verdict == "warning" or free < folders.LEAST
    assert found.remedy.endswith(" GB")


def can_mount() -> bool:
    command = [*IN_A_TINY_DISK, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.long
@pytest.mark.skipif(not can_mount(), reason="nothing can be mounted here")
def test_a_disk_that_is_full_is_bad(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from rnnlab.doctor import folders; place = Path.cwd()\n"
        "for found in (folders.space('space', place, 10**9, 'a run'), folders.writing('writing', place)):\n"
        "    print(found.verdict, found.detail, found.remedy)\n"
    )
    script = 'mount -t tmpfs -o size=64k tmpfs "$1" && cd "$1" && head -c 70000 /dev/zero >full; exec "$2" -c "$3"'
    command = [*IN_A_TINY_DISK, "sh", "-c", script, "sh", str(tmp_path), sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True)
    space, writing = done.stdout.splitlines()
    assert space.startswith("bad 0 MB free in")
    assert writing.startswith("bad")
    assert "no space left on device" in writing
    assert writing.endswith("free some space")


def test_runs_go_to_runs_where_there_is_such_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert folders.runs_folder() == tmp_path
    (tmp_path / "runs").mkdir()
    assert folders.runs_folder() == tmp_path / "runs"

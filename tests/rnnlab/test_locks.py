"""Lock files: one holder, who is named; no link followed, no second holder after the file was deleted."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rnnlab.errors import DataError, StorageError
from rnnlab.locks import LockTaken, locked
from rnnlab.storage.durable import storage_errors


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def test_a_lock_has_one_holder_who_is_named(path: Path) -> None:
    with locked(path), pytest.raises(LockTaken, match=rf"^process {os.getpid()} on \S+$"), locked(path):
        pass
    assert path.read_text() == ""
    with locked(path):
        pass


def test_a_holder_is_named_with_what_can_be_printed(path: Path) -> None:
    with locked(path):
        path.write_text("\x1b[31mprocess 1\x07 on\nhere\n")
        with pytest.raises(LockTaken, match="process 1\N{REPLACEMENT CHARACTER} on here"), locked(path):
            pass


def test_who_waits_gets_the_lock_of_a_holder_that_dies(path: Path) -> None:
    script = "import sys, time, pathlib\nfrom rnnlab.locks import locked\n"
    script += "with locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockTaken, match=f"process {holder.pid} "), locked(path, patience=0.1):
            pass
        holder.kill()
        with locked(path, patience=30.0):
            pass


def test_a_forked_child_shares_the_lock_of_a_parent_that_dies(path: Path) -> None:
    script = (
        "import os, sys, pathlib\nfrom rnnlab.locks import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n    if os.fork():\n        os._exit(0)\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n    os._exit(0)"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", script, path], **pipes) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        assert parent.stdout.readline() == "held\n"
        assert parent.wait() == 0
        with pytest.raises(LockTaken), locked(path):
            pass
        parent.stdin.close()
        with locked(path, patience=30.0):
            pass


def test_a_lock_that_is_a_link_is_refused_and_its_target_left_alone(path: Path) -> None:
    target = path.with_name("precious")
    target.write_text("mine")
    path.symlink_to(target)
    with pytest.raises(StorageError, match="a link is in the way"), storage_errors("lock"), locked(path):
        pass
    assert target.read_text() == "mine"


@pytest.mark.parametrize("content", ["mine", "process 1 on here\nmine", "process one on here\n", "x" * 10**5])
def test_a_file_that_is_no_lock_is_refused_and_left_alone(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(StorageError, match=r"no lock.*choose another folder"), storage_errors("lock"), locked(path):
        pass
    assert path.read_text() == content


@pytest.mark.parametrize("content", ["", "process 1 on here\n", "process 1 on h", "\0" * 20])
def test_what_a_holder_that_died_left_is_a_lock(path: Path, content: str) -> None:
    path.write_text(content)
    with locked(path):
        assert path.read_text().startswith(f"process {os.getpid()} on ")
    assert path.read_text() == ""


def test_a_lock_file_that_was_deleted_and_made_anew_is_not_taken_for_the_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rnnlab import locks

    real, replaced = locks.lock_descriptor, []

    def lock_late(descriptor: int, *, blocking: bool) -> bool:
        if not replaced:
            path.unlink()
            path.touch()
            replaced.append(path.stat().st_ino)
        return real(descriptor, blocking=blocking)

    monkeypatch.setattr(locks, "lock_descriptor", lock_late)
    with locked(path), pytest.raises(LockTaken), locked(path):
        pass
    assert replaced


def test_a_file_system_without_locks_is_told_with_what_to_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, *, blocking: bool) -> bool:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("rnnlab.locks.lock_descriptor", refuse)
    with pytest.raises(StorageError, match=r"no file locks.*another"), storage_errors("lock"), locked(path):
        pass


@pytest.mark.usefixtures("own_cache")
def test_a_cache_on_a_file_system_without_locks_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from rnnlab.data.corpora import build_python_stdlib

    def refuse(descriptor: int, *, blocking: bool) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("rnnlab.locks.lock_descriptor", refuse)
    with pytest.raises(DataError, match=r"no file locks.*or set RNNLAB_DATA to another folder"):
        build_python_stdlib()

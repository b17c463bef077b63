"""`rnnlab doctor` as a process, on machines that lack what ours has."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ANOTHER = ("unshare", "--user", "--map-user=54321")  # a user without an entry among the users
SECONDS = 15.0  # of the processor, whatever else the machine does


def doctor(
    folder: Path, *arguments: str, before: tuple[str, ...] = (), **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """Run in an empty folder with caches of its own.

    Args:
        before: what starts the command in other surroundings.
        environment: beside our own; None takes a variable out.
    """
    own = {"RNNLAB_CACHE": str(folder / "cache"), "RNNLAB_DATA": str(folder / "data")}
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **own, **environment}
    command = [*before, sys.executable, "-m", "rnnlab", "doctor", *arguments]
    present = {name: value for name, value in variables.items() if value is not None}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env=present)


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """By name, every one with a verdict, and those to be done with a remedy."""
    rows = json.loads(done.stdout)["findings"]
    for row in rows:
        assert row["verdict"] in ("good", "warning", "bad", "absent"), row
        assert row["detail"], row
        assert row["remedy"] or row["verdict"] in ("good", "absent"), row
    assert "Traceback" not in done.stderr
    return {row["name"]: row for row in rows}


@pytest.mark.long
def test_here_nothing_is_bad_and_it_is_soon_said(tmp_path: Path) -> None:
    """With the kernels that other tests have compiled: their compilation is not counted."""
    before = os.times()
    done = doctor(tmp_path, "--json", "--device", "cpu", RNNLAB_CACHE=os.environ.get("RNNLAB_CACHE"))
    after = os.times()
    found = findings(done)
    assert done.returncode == 0, done.stdout
    assert {row["group"] for row in found.values()} == {
        "Software", "Processor", "GPU", "Folders", "Environment", "A training step"
    }  # fmt: skip
    assert found["LSTM on cpu"]["verdict"] == found["QRNN on cpu"]["verdict"] == "good"
    assert list(tmp_path.iterdir()) == [tmp_path / "data"], "nothing is left in the working folder"
    assert after.children_user - before.children_user < SECONDS


@pytest.mark.long
def test_a_machine_that_lacks_nearly_everything_gets_lines_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = doctor(
        tmp_path, "--json", "--device", "cuda:7",
        PATH="/nonexistent", HOME=None, WORLD_SIZE="4", RANK="0", CC=None, PYTHONIOENCODING="ascii",
        RNNLAB_CACHE=str(tmp_path / "file" / "cache"), RNNLAB_MIRROR="https://me:secret@host/dc",
    )  # fmt: skip
    found = findings(done)
    assert done.returncode == 1
    assert found["device"]["verdict"] == "bad"
    for name in ("C compiler", "CPU kernels", "folder of kernels", "WORLD_SIZE", "RANK"):
        assert found[name]["verdict"] == "warning", found[name]
    assert found["LSTM on cpu"]["verdict"] == "good"
    assert "secret" not in done.stdout + done.stderr


def can_be_another() -> bool:
    return bool(shutil.which("unshare")) and subprocess.run([*ANOTHER, "true"], capture_output=True).returncode == 0


@pytest.mark.long
@pytest.mark.skipif(not can_be_another(), reason="users cannot be mapped here")
def test_a_user_without_a_home_has_caches_among_the_temporary_files(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    homeless = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "RNNLAB_CACHE", "RNNLAB_DATA"))
    own = {"TMPDIR": str(tmp_path / "tmp"), "RNNLAB_NATIVE": "0"}
    found = findings(doctor(tmp_path, "--json", "--device", "cpu", before=ANOTHER, **own, **homeless))
    for name in ("folder of kernels", "folder of corpora"):
        assert found[name]["verdict"] == "good", found[name]
        assert found[name]["detail"].startswith(f"{tmp_path}/tmp/rnnlab-54321: ")


@pytest.mark.long
def test_kernels_that_are_turned_off_leave_a_step_that_is_right(tmp_path: Path) -> None:
    done = doctor(tmp_path, "--device", "cpu", RNNLAB_NATIVE="0")
    assert done.returncode == 0, done.stdout
    assert "  warning  CPU kernels" in done.stdout
    assert "-> unset RNNLAB_NATIVE, unless this is meant" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("warning.") or done.stdout.splitlines()[-1].endswith("warnings.")
    assert done.stdout.isascii()


def test_a_torch_that_does_not_import_is_told_in_lines(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text('raise ImportError("libcudart.so.13: cannot open shared object file")\n')
    started = time.monotonic()
    done = doctor(tmp_path, "--json", PYTHONPATH=str(tmp_path))
    found = findings(done)
    assert done.returncode == 1
    assert found["Python"]["verdict"] == "good"
    assert "libcudart.so.13" in found["torch"]["detail"]
    assert found["torch"]["remedy"] == "reinstall the package that does not import"
    assert time.monotonic() - started < 60


def test_a_working_folder_that_was_removed_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = doctor(gone, "--json", before=("sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh"))
    assert list(findings(done)) == ["working folder"]
    assert done.returncode == 1

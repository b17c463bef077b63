"""The lines of Python, torch and the packages."""

import importlib.metadata
import importlib.util
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnlab.doctor import software
from rnnlab.doctor.finding import look

ROOT = Path(__file__).parents[3]


def test_the_python_that_is_needed_is_the_one_that_is_declared() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert software.needed_python() == tuple(map(int, declared.removeprefix(">=").split(".")))
    assert software.python().verdict == "good"


def test_a_python_that_is_too_old_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "needed_python", lambda: (sys.version_info[0], sys.version_info[1] + 1))
    found = software.python()
    assert found.verdict == "bad"
    assert found.remedy == f"make the environment with Python 3.{sys.version_info[1] + 1}"


def test_the_build_of_torch_is_named() -> None:
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    if torch.version.hip:
        build = f"ROCm {torch.version.hip}"
    assert software.torch().detail == f"{torch.__version__}, built for {build}"


def test_a_tensorboard_that_does_not_import_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "rnnlab.views.events", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    found = software.tensorboard()
    assert found.verdict == "bad"
    assert "event_pb2" in found.detail


def test_extras_that_are_missing_are_absent_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(software, "version", none)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert (software.export().verdict, software.export().remedy) == (
        "absent",
        "pip install onnx onnxscript onnxruntime",
    )
    assert (software.postgres().verdict, software.postgres().remedy) == ("absent", "pip install 'psycopg[binary]'")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_a_commit_that_git_does_not_tell_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert software.commit().verdict == "good"
    monkeypatch.setenv("PATH", "/nonexistent")
    found = software.commit()
    assert found.verdict == "warning"
    assert found.remedy.endswith("describe --always")


def test_every_check_gives_a_line() -> None:
    assert all(look(check) for check in software.checks("auto"))

"""Whether Triton compiles kernels here: importable is not usable, as it calls a C compiler when it runs."""

import importlib.util
import os
import shlex
import shutil
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import torch

from rnnlab.ops.recurrence import linear_recurrence


class Trouble(NamedTuple):
    """Why Triton is of no use."""

    what: str
    remedy: str


def installed() -> str:
    """Its version; "" where it is not installed."""
    try:
        return version("triton")
    except PackageNotFoundError:
        return ""


def trouble() -> Trouble | None:
    """What keeps Triton from running a kernel on the current GPU; None if one was compiled and has run."""
    if importlib.util.find_spec("triton") is None:
        return Trouble("it is not installed", "pip install triton, the version that `pip show torch` requires")
    if not any(map(shutil.which, _compilers())):
        return Trouble("there is no C compiler", "install one (apt install gcc), or name it by CC")
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return Trouble("Python.h is not here", "install Python's headers (apt install python3-dev)")
    try:
        a = torch.full((3, 2, 4), 0.5, device="cuda")
        linear_recurrence(a, torch.ones_like(a), torch.zeros_like(a[0]), backend="triton").sum().item()
    except Exception as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        return Trouble(f"a kernel does not run: {said}", "reinstall the triton that this torch requires")
    return None


def _compilers() -> list[str]:
    """The names that Triton tries."""
    own = shlex.split(os.environ.get("CC", ""))
    return own[:1] or ["gcc", "clang", "cc"]

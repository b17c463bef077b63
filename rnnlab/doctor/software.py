"""Python, torch, and the packages that commands need."""

import importlib.util
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, metadata, version

from rnnlab.doctor.finding import Check, Finding

INSTALL_POSTGRES = "pip install 'psycopg[binary]'"


def checks(device: str) -> list[Check]:
    return [python, torch, tensorboard, postgres, export, commit]


def python() -> Finding:
    running = platform.python_version()
    needed = needed_python()
    if sys.version_info[: len(needed)] >= needed:
        return Finding("Python", "good", running)
    least = ".".join(map(str, needed))
    return Finding("Python", "bad", f"{running}; rnnlab needs {least}", f"make the environment with Python {least}")


def needed_python() -> tuple[int, ...]:
    """The least version that this package declares; () where it is not installed as one."""
    try:
        declared = metadata("rnnlab").json.get("requires_python", "")
    except PackageNotFoundError:
        declared = ""
    least = re.search(r">=\s*(\d+)\.(\d+)", str(declared))
    return (int(least[1]), int(least[2])) if least else ()


def torch() -> Finding:
    import torch as package

    build = "CPU"
    if package.version.cuda:
        build = f"CUDA {package.version.cuda}"
    elif package.version.hip:
        build = f"ROCm {package.version.hip}"
    return Finding("torch", "good", f"{package.__version__}, built for {build}")


def tensorboard() -> Finding:
    try:
        import rnnlab.views.events  # noqa: F401 -- its protocol, which every run writes
    except Exception as error:
        said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        return Finding("TensorBoard", "bad", said, "pip install --upgrade tensorboard protobuf")
    return Finding("TensorBoard", "good", f"{version('tensorboard')}, protobuf {version('protobuf')}")


def postgres() -> Finding:
    if importlib.util.find_spec("psycopg") is None:
        return Finding("extra postgres", "absent", "only for searches over PostgreSQL", INSTALL_POSTGRES)
    try:
        import psycopg
    except ImportError as error:  # it looks for libpq
        said = str(error).splitlines()[0]
        return Finding("extra postgres", "warning", f"psycopg does not import: {said}", INSTALL_POSTGRES)
    return Finding("extra postgres", "good", f"psycopg {psycopg.__version__}")


def export() -> Finding:
    """By their versions: the import of all three takes a second."""
    found, missing = [], []
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        detail = f"no {', '.join(missing)}: only for `rnnlab export`"
        return Finding("extra export", "absent", detail, "pip install onnx onnxscript onnxruntime")
    return Finding("extra export", "good", ", ".join(found))


def commit() -> Finding:
    """What the environment.json of a run will say of the code."""
    from pathlib import Path

    import rnnlab
    from rnnlab.training.experiment import _commit

    if said := _commit():
        return Finding("commit", "good", said)
    root = Path(rnnlab.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return Finding("commit", "absent", "rnnlab is installed, not a checkout; runs note its version")
    return Finding(
        "commit", "warning", "git does not tell it, so runs do not note it", f"git -C {root} describe --always"
    )

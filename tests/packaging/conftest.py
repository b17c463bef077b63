"""A bare environment with the wheels of rnnlab and of the example distributions."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ("my_part", "my_task")
LEFTOVERS = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "build", "dist", "runs")

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels of rnnlab and of the examples, built from copies so that the source stays as it is.

    That of rnnlab is built from its source distribution, as `make wheel` does.
    """
    folder = tmp_path_factory.mktemp("wheels")
    copy = folder / "rnnlab"
    for name in ("rnnlab", "components", "studies", "gin"):
        shutil.copytree(ROOT / name, copy / name, ignore=LEFTOVERS)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in EXAMPLES:
        shutil.copytree(ROOT / "examples" / name, folder / name, ignore=LEFTOVERS)
    for source in (copy, *(folder / name for name in EXAMPLES)):
        build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)]
        finished = subprocess.run(build, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stdout + finished.stderr
    return {wheel.name.partition("-")[0]: wheel for wheel in folder.glob("*.whl")}


@pytest.fixture(scope="session")
def bare(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with these wheels; torch and the like are seen through a .pth file.

    A folder named in a .pth file does not have its own .pth files read, so an editable rnnlab beside that torch is not
    seen: only the wheel is.
    """
    environment = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    paths = {"base": str(environment), "platbase": str(environment)}
    site = Path(sysconfig.get_path("purelib", "venv", paths))
    (site / "heavy.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", "--quiet"]
    subprocess.run([*install, *map(str, wheels.values())], check=True)
    return environment / "bin"


@pytest.fixture
def run(bare: Path, tmp_path: Path) -> Command:
    """Run a command of the bare environment in an empty folder, or in `where`; it has to succeed."""

    def run(*command: str, where: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
        environment = kept | {"OMP_NUM_THREADS": "1", "PATH": f"{bare}{os.pathsep}{kept['PATH']}"}
        executable = str(bare / command[0])
        finished = subprocess.run(
            [executable, *command[1:]], cwd=where, env=environment, capture_output=True, text=True, errors="replace"
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished

    return run

"""Both wheels in a bare environment: rnnlab from nowhere near its source, and a part that a stranger ships."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.packaging, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "my_part"
PLACES = {"rnnlab": "rnnlab", "components": "rnnlab/components", "studies": "rnnlab/studies", "gin": "rnnlab/configs"}
"""Folder of the source: its place in the wheel."""
SHIPPED = (".py", ".gin", ".c", ".html", ".typed")
LEFTOVERS = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "build", "dist", "runs")

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels of rnnlab and of the example, built from copies so that the source stays as it is."""
    folder = tmp_path_factory.mktemp("wheels")
    copy = folder / "rnnlab"
    for name in PLACES:
        shutil.copytree(ROOT / name, copy / name, ignore=LEFTOVERS)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(EXAMPLE, folder / "my_part", ignore=LEFTOVERS)
    for source in (copy, folder / "my_part"):
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
        finished = subprocess.run(build, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stdout + finished.stderr
    return {wheel.name.partition("-")[0]: wheel for wheel in folder.glob("*.whl")}


@pytest.fixture(scope="module")
def bare(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the two wheels; torch and the like are seen through a .pth file.

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
            [executable, *command[1:]], cwd=where, env=environment, capture_output=True, text=True
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished

    return run


def readme_commands() -> list[list[str]]:
    """The rnnlab commands in the example's README, as a shell reads them."""
    lines = (EXAMPLE / "README.md").read_text().splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("rnnlab ")]


def test_the_wheel_holds_what_the_source_holds_under_one_name(wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels["rnnlab"]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in names} == {"rnnlab"}
    expected = {
        f"{place}/{file.relative_to(ROOT / folder).as_posix()}"
        for folder, place in PLACES.items()
        for file in (ROOT / folder).rglob("*")
        if file.suffix in SHIPPED
    }
    assert names == expected


@pytest.mark.parametrize("decoys", [False, True], ids=["an empty folder", "a folder with gin and components"])
def test_the_wheel_works_from_anywhere(run: Command, bare: Path, tmp_path: Path, decoys: bool) -> None:
    if decoys:
        for name in ("gin", "components", "studies"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "trap.py").write_text("raise ImportError('not the installed one')\n")
        (tmp_path / "gin" / "sha_rnn.gin").write_text("this is not the installed one\n")
    where = run("python", "-c", "import rnnlab; print(rnnlab.__file__)").stdout
    assert Path(where).is_relative_to(bare.parent)
    assert "core.LSTM" in run("rnnlab", "parts", "core").stdout
    assert "core.LSTM" in run("python", "-m", "rnnlab", "parts", "core").stdout
    assert "@core.LSTM" in run("rnnlab", "show", "sha_rnn", "size/tiny").stdout
    assert not (tmp_path / "runs").exists()


def test_a_strangers_core_is_listed_checked_and_trained_as_its_readme_says(run: Command, tmp_path: Path) -> None:
    listed, checked, trained = readme_commands()
    entries = json.loads(run(*listed, "--json").stdout)
    (ema,) = [entry for entry in entries if entry["selector"] == "core.Ema"]
    assert ema["package"] == "my_part"
    assert ema["macs"] == 1024 * 1024 + 1024

    report = run(*checked).stdout
    assert "ok     core.Ema: streaming" in report
    assert "FAILED" not in report

    text = tmp_path / "text.txt"
    text.write_text("all work and no play makes a dull corpus. " * 2_000)
    one_step = ["--corpus", str(text), "--set", "Trainer.steps = 1", "--set", "Trainer.eval_chunk = 64"]
    run(*trained, *one_step, "--run", str(tmp_path / "run"))
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["status"], result["steps"]) == ("done", 1)
    assert "@core.Ema" in (tmp_path / "run" / "config.gin").read_text()


def test_a_strangers_own_tests_hold_the_core_to_the_laws(run: Command, tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "test_my_part.py", tmp_path)
    assert " passed" in run("python", "-m", "pytest", "-q", "-p", "no:randomly", "test_my_part.py").stdout

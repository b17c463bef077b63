"""What is installed is what stands here, under one name, and works wherever one stands."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.packaging, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PLACES = {"rnnlab": "rnnlab", "components": "rnnlab/components", "studies": "rnnlab/studies", "gin": "rnnlab/configs"}
"""Folder of the source: its place in the wheel."""
SHIPPED = (".py", ".gin", ".c", ".h", ".html", ".typed")

Command = Callable[..., subprocess.CompletedProcess[str]]


def set_decoys(folder: Path) -> None:
    """Folders of the names that a checkout has, whose content must not be taken for the installed one."""
    for name in ("gin", "components", "studies"):
        (folder / name).mkdir()
        (folder / name / "trap.py").write_text("raise ImportError('not the installed one')\n")
    (folder / "gin" / "sha_rnn.gin").write_text("this is not the installed one\n")


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
    assert {
        "rnnlab/py.typed",
        "rnnlab/ops/kernels/lstm.c",
        "rnnlab/ops/kernels/common.h",
        "rnnlab/configs/sha_rnn.gin",
    } < names


def test_the_wheel_names_its_command_and_its_groups(wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels["rnnlab"]) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
        entry_points = wheel.read(name).decode()
        assert any(name.endswith("/LICENSE") for name in wheel.namelist())
    assert "rnnlab = rnnlab.cli:run" in entry_points
    assert "[rnnlab.components]\nrnnlab = rnnlab.components" in entry_points


@pytest.mark.parametrize("decoys", [False, True], ids=["an empty folder", "a folder with gin and components"])
def test_the_wheel_works_from_anywhere(run: Command, bare: Path, tmp_path: Path, decoys: bool) -> None:
    if decoys:
        set_decoys(tmp_path)
    where = run("python", "-c", "import rnnlab; print(rnnlab.__file__)").stdout
    assert Path(where).is_relative_to(bare.parent)
    assert "core.LSTM" in run("rnnlab", "parts", "core").stdout
    assert "core.LSTM" in run("python", "-m", "rnnlab", "parts", "core").stdout
    assert "@core.LSTM" in run("rnnlab", "show", "sha_rnn", "size/tiny").stdout
    assert not (tmp_path / "runs").exists()


def test_the_wheel_trains_evaluates_and_writes(run: Command, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("all work and no play makes a dull corpus. " * 500)
    tiny = ["--corpus", "text.txt", "--set", "LanguageModel.dim = 16", "--set", "Trainer.steps = 3"]
    result = json.loads(run("rnnlab", "train", "sha_rnn", "size/tiny", *tiny, "--run", "R", "--json").stdout)
    assert (result["status"], result["steps"]) == ("done", 3)
    scored = result["protocol"]["bytes_scored"] + result["protocol"]["batch_size"]
    score = json.loads(run("rnnlab", "eval", "R", "--bytes", str(scored), "--json").stdout)
    assert score["bpc"] == result["test_bpc"]
    assert run("rnnlab", "generate", "R", "--bytes", "20").stdout


def test_an_editable_install_works_from_a_folder_with_the_same_names(tmp_path: Path) -> None:
    set_decoys(tmp_path)
    code = """
import rnnlab.components.cores.lstm, rnnlab.studies, rnnlab.config
print(rnnlab.__file__, rnnlab.components.cores.lstm.__file__, rnnlab.studies.__file__, rnnlab.config.config_folder(),
      sep="\\n")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    rnnlab, *rest = (Path(line) for line in done.stdout.splitlines())
    if not rnnlab.is_relative_to(ROOT / "rnnlab"):
        pytest.skip("rnnlab is not installed in editable mode here")
    assert rest == [ROOT / "components" / "cores" / "lstm.py", ROOT / "studies" / "__init__.py", ROOT / "gin"]

"""A part and a task that strangers ship in wheels of their own, beside the wheel of rnnlab in a bare environment."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.packaging, pytest.mark.slow]

EXAMPLES = Path(__file__).parents[2] / "examples"

Command = Callable[..., subprocess.CompletedProcess[str]]


def readme_commands(example: str) -> list[list[str]]:
    """The rnnlab commands in an example's README, as a shell reads them."""
    lines = (EXAMPLES / example / "README.md").read_text().splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("rnnlab ")]


def test_a_strangers_core_is_listed_checked_and_trained_as_its_readme_says(run: Command, tmp_path: Path) -> None:
    listed, checked, trained = readme_commands("my_part")
    entries = json.loads(run(*listed, "--json").stdout)["parts"]
    (ema,) = [entry for entry in entries if entry["selector"] == "core.Ema"]
    assert ema["package"] == "my_part"
    assert ema["macs"] == 1024 * 1024 + 1024

    report = run(*checked).stdout
    assert "ok     core.Ema: streaming" in report
    assert "FAILED" not in report

    text = tmp_path / "text.txt"
    text.write_text("all work and no play makes a dull corpus. " * 2_000)
    one_step = ["--corpus", str(text), "--set", "Trainer.steps = 1", "--set", "Trainer.eval_bptt = 64"]
    run(*trained, *one_step, "--run", str(tmp_path / "run"))
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["status"], result["steps"]) == ("done", 1)
    assert "@core.Ema" in (tmp_path / "run" / "config.gin").read_text()


def test_a_strangers_task_is_listed_and_checked_as_its_readme_says(run: Command) -> None:
    listed, checked, _ = readme_commands("my_task")
    entries = json.loads(run(*listed, "--json").stdout)["parts"]
    (majority,) = [entry for entry in entries if entry["selector"] == "task.Majority"]
    assert majority["package"] == "my_task"

    report = run(*checked).stdout
    assert "ok     task.Majority: causal answers" in report
    assert "% of valid and " in report
    assert "FAILED" not in report


@pytest.mark.parametrize("example", ["my_part", "my_task"])
def test_a_strangers_own_tests_hold_the_part_to_the_laws(example: str, run: Command, tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / example / f"test_{example}.py", tmp_path)
    assert " passed" in run("python", "-m", "pytest", "-q", "-p", "no:randomly", f"test_{example}.py").stdout

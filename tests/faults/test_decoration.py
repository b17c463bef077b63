"""F32: what only decorates (plots, glyphs, the commit, progress, a stream) never fails the work."""

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.processes import PATIENCE, expect_equal, train_arguments
from tests.studies.small_studies import write_study

pytestmark = pytest.mark.faults

COMMAND = [sys.executable, "-m", "rnnlab"]
Surroundings = Mapping[str, Any]

ONE_AFTER_THE_OTHER = """
import json, sys
from rnnlab.cli import main
from rnnlab.cli.main import prepare

prepare()
for arguments in json.loads(sys.argv[1]):
    if code := main(arguments):
        sys.exit(f"{arguments[0]} ends with {code}")
"""
"""Several commands in one process, which imports torch once."""


def run_process(
    command: Sequence[str], folder: Path, shell: str = "", before: Sequence[str] = (), **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    Args:
        shell: redirections.
        before: what starts the command in other surroundings.
        environment: beside our own; None takes a variable out.
    """
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    redirected = ["sh", "-c", f'exec "$0" "$@" {shell}', *command] if shell else command
    return subprocess.run(
        [*before, *redirected], cwd=folder, timeout=PATIENCE, text=True, capture_output=True,
        env={name: value for name, value in variables.items() if value is not None},
    )  # fmt: skip


def without_programs(folder: Path) -> Surroundings:
    return {"PATH": str(folder / "none")}


def without_a_home(folder: Path) -> Surroundings:
    """A user without HOME and without an entry among the users, as in many containers."""
    other = ["unshare", "--user", "--map-user=54321"]
    if shutil.which("unshare") is None or subprocess.run([*other, "true"], capture_output=True).returncode:
        pytest.skip("user namespaces are not allowed here")
    unset = dict.fromkeys(["HOME", "XDG_CACHE_HOME", "RNNLAB_CACHE", "RNNLAB_DATA", "MPLCONFIGDIR"])
    return {"before": other, "TMPDIR": str(folder), **unset}


def with_tex(folder: Path) -> Surroundings:
    (folder / "matplotlibrc").write_text("text.usetex: True\nbackend: pgf\n")
    return {"MATPLOTLIBRC": str(folder / "matplotlibrc")}


def with_the_backend_of_a_notebook(folder: Path) -> Surroundings:
    return {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}


def in_ascii(folder: Path) -> Surroundings:
    return {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}


def with_stderr_closed(folder: Path) -> Surroundings:
    return {"shell": "2>&-"}


def with_stderr_on_a_full_disk(folder: Path) -> Surroundings:
    return {"shell": "2>/dev/full"}


def with_stdin_closed(folder: Path) -> Surroundings:
    return {"shell": "<&-"}


@pytest.mark.parametrize(
    "surroundings",
    [without_programs, without_a_home, with_tex, with_the_backend_of_a_notebook, in_ascii, with_stderr_closed,
     with_stderr_on_a_full_disk, with_stdin_closed],
    ids=lambda each: each.__name__,
)  # fmt: skip
def test_f32_train_eval_compare_and_ablate_do_their_work(
    surroundings: Callable[[Path], Surroundings], text: Path, whole: Path, tmp_path: Path
) -> None:
    study = write_study(tmp_path, "Ablation", deltas={"none": ["attention/none"]}, seeds=1)
    commands = [
        [*train_arguments(tmp_path / "run", text)],
        ["eval", "run", "--split", "valid"],
        ["compare", "run", "--out", "out"],
        ["ablate", str(study), "--workers", "1", "--run", "st"],
    ]
    done = run_process(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER, json.dumps(commands)], tmp_path, **surroundings(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for words in ("test ", "valid ", "Valid BPC", "2 cells trained"):
        assert words in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"compare.html", "curves.png", "curves.svg"}
    assert {path.name for path in (tmp_path / "st").iterdir()} >= {"ablation.md", "ablation.png"}
    if surroundings is without_programs:  # without a compiler torch multiplies, in another order
        assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "done"
    else:
        expect_equal(tmp_path / "run", whole)


def test_f32_a_plot_that_cannot_be_drawn_costs_the_plot(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rnnlab.views.compare import compare

    def broken(*panels: object) -> None:
        raise ValueError("no such font")

    monkeypatch.setattr("rnnlab.views.compare.learning_curves", broken)
    found = compare([whole], tmp_path / "out")
    assert "compare.html" in [path.name for path in found.files]
    assert "curves.png" not in [path.name for path in found.files]
    assert "curves: the plot cannot be drawn (ValueError: no such font)" in capsys.readouterr().err


def test_f32_a_progress_bar_whose_terminal_is_gone_does_not_end_the_run(
    text: Path, whole: Path, tmp_path: Path
) -> None:
    here, there = pty.openpty()
    run = tmp_path / "run"
    child = subprocess.Popen([*COMMAND, *train_arguments(run, text)], stderr=there, stdout=subprocess.DEVNULL)
    os.close(there)
    os.read(here, 10)
    os.close(here)  # from now on each write to it fails
    assert child.wait(PATIENCE) in (0, 129), "done, or stopped by the SIGHUP of the terminal"
    if child.returncode == 0:
        expect_equal(run, whole)


def test_f32_a_reader_of_progress_that_goes_away_does_not_end_the_run(text: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with subprocess.Popen([*COMMAND, *train_arguments(run, text, "Trainer.log_every = 1")], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE) as child:  # fmt: skip
        assert child.stderr is not None
        child.stderr.close()
        assert child.wait(PATIENCE) == 0
    expect_equal(run, whole)


def test_f32_an_answer_that_cannot_be_written_is_told(whole: Path, tmp_path: Path) -> None:
    told = run_process([*COMMAND, "eval", str(whole)], tmp_path, shell=">/dev/full")
    assert told.returncode == 5
    assert "the answer cannot be written to standard output: no space left on device" in told.stderr
    gone = run_process([*COMMAND, "eval", str(whole)], tmp_path, shell=">&-")
    assert (gone.returncode, gone.stderr) == (0, "")


def test_f32_a_text_whose_name_is_not_utf8_is_trained_on_and_scored(text: Path, whole: Path, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path / "caf") + b"\xe9"
    with open(odd, "wb") as file:
        file.write(text.read_bytes())
    run = tmp_path / "run"
    trained = run_process([*COMMAND, *train_arguments(run, Path(os.fsdecode(odd)))], tmp_path)
    assert trained.returncode == 0, trained.stderr
    expect_equal(run, whole)
    scored = run_process([*COMMAND, "eval", str(run), "--corpus", os.fsdecode(odd), "--split", "all"], tmp_path)
    assert scored.returncode == 0, scored.stderr


def test_f32_a_folder_whose_name_is_not_utf8_can_be_a_run_and_be_compared(
    text: Path, whole: Path, tmp_path: Path
) -> None:
    run = Path(os.fsdecode(os.fsencode(tmp_path / "caf") + b"\xe9"))
    trained = run_process([*COMMAND, *train_arguments(run, text)], tmp_path)
    assert trained.returncode == 0, trained.stderr
    expect_equal(run, whole)
    compared = run_process([*COMMAND, "compare", str(run), "--out", "out"], tmp_path)
    assert compared.returncode == 0, compared.stderr

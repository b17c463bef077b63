"""F11: sixteen configurations that cannot mean what they say. Exit 2, one line with file and line, no code run."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from rnnlab import cli

pytestmark = pytest.mark.faults


@dataclass(frozen=True)
class Fault:
    """A file `bad.gin` in a folder of its own, and what the command line must say of it."""

    name: str
    text: str
    told: tuple[str, ...]


FAULTS = [
    Fault("unknown part", "\nLSMT.dropconnect = 0.1", ("bad.gin:2: ", "did you mean 'LSTM'")),
    Fault("unknown argument", "LSTM.dropconect = 0.1", ("bad.gin:1: ", "did you mean 'dropconnect'")),
    Fault("unknown reference", "# core\n\nBlock.core = @core.LSMT", ("bad.gin:3: ", "did you mean 'core.LSTM'")),
    Fault("unknown macro", "Block.dropout = %dropuot", ("bad.gin:1: ", "did you mean 'dropout'")),
    Fault("wrong type", "Trainer.batch_size = 'eight'", ("bad.gin:1: ", "an int", "'eight'")),
    Fault("zero size", "LanguageModel.dim = 0", ("bad.gin:1", "LanguageModel.dim", "at least 1")),
    Fault("negative size", "memory = -5", ("bad.gin:1", "memory", "-5")),
    Fault("misspelt scope", "\n\n\nsah/Block.dropout = 0.1", ("bad.gin:4: ", "did you mean 'sha'")),
    Fault("unused binding", "AdamW.lr = 0.1", ("bad.gin:1: ", "optimizer.AdamW")),
    Fault("same key twice", "Trainer.seed = 1\nTrainer.seed = 1", ("bad.gin:2: ", "bad.gin:1")),
    Fault("import", "import trap", ("bad.gin:1: ", "imports nothing")),
    Fault("include outside", "include '../outside.gin'", ("bad.gin:1: ", "leaves")),
    Fault("missing include", "include 'core/qrn.gin'", ("bad.gin:1: ", "core/qrn.gin")),
    Fault("literal 2,000 deep", "LanguageModel.blocks = " + "[" * 2000 + "]" * 2000, ("bad.gin:1: ", "nested")),
    Fault("file of 10 MB", "# 0123456789abcdef\n" * 550_000, ("bad.gin: ", "256 KiB")),
    Fault("not closed", "Trainer.seed = 1\nLanguageModel.blocks = [@Block,\n", ("bad.gin:", "not closed")),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a module beside the file that leaves a trace if anything imports it."""
    (tmp_path / "outside.gin").write_text("Trainer.seed = 7\n")
    here = tmp_path / "here"
    here.mkdir()
    (here / "trap.py").write_text("import pathlib\npathlib.Path('sprung').touch()\n")
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(str(here))
    return here


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_bad_configuration_is_refused_in_words_and_runs_nothing(
    fault: Fault, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.gin").write_text(fault.text)
    code = cli.main(["train", "sha_rnn", "bad.gin", "--run", "run", "--bytes", "1000"])
    check(fault, folder, code, capsys.readouterr().err)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in ("import", "negative size")], ids=str)
def test_the_same_holds_for_the_command_in_a_process_of_its_own(fault: Fault, folder: Path) -> None:
    (folder / "bad.gin").write_text(fault.text)
    command = [sys.executable, "-m", "rnnlab", "train", "sha_rnn", "bad.gin", "--run", "run", "--bytes", "1000"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(folder)}
    )
    check(fault, folder, done.returncode, done.stderr)


def check(fault: Fault, folder: Path, code: int, err: str) -> None:
    assert code == 2, err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) <= 2, err
    for word in fault.told:
        assert word in err
    assert {path.name for path in folder.iterdir()} <= {"bad.gin", "trap.py"}  # not sprung, and no run folder

"""Commands as tests give them: in this process, or in one of their own."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rnnlab import cli

TEXT = b"<page>\n<title>Foxes</title>\nThe quick brown fox [[jump]]s over 12 lazy dogs.\n</page>\n" * 60
TINY = [
    *("--set", "LanguageModel.dim = 16"),
    *("--set", "memory = 24"),
    *("--set", "Trainer.batch_size = 2"),
    *("--set", "Trainer.bptt = 16"),
    *("--set", "Trainer.eval_batch_size = 2"),
]


def write_text(folder: Path) -> Path:
    path = folder / "text.txt"
    path.write_bytes(TEXT)
    return path


def answer(*arguments: str | Path) -> str:
    """What a command that succeeds prints on standard output."""
    out = io.TextIOWrapper(io.BytesIO(), write_through=True)
    with contextlib.redirect_stdout(out):
        code = cli.main([*map(str, arguments)])
    assert code == 0
    out.seek(0)
    return out.read()


def json_answer(*arguments: str) -> Any:
    """The one JSON value that `--json` prints; anything beside it would not parse."""
    return json.loads(answer(*arguments, "--json"))


def run_process(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=120, env=environment)


def generated(capsysbinary: pytest.CaptureFixture[bytes], *arguments: str) -> bytes:
    assert cli.main(["generate", *arguments]) == 0
    return capsysbinary.readouterr().out

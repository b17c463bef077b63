"""The numbers of every Triton kernel, without a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_every_kernel_computes_what_the_cpu_computes() -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.gpu.interpreted"]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == [
        "check_trial", "check_dropout", "check_padded_dropout", "check_dropout_gradient", "check_recurrence"
    ]  # fmt: skip

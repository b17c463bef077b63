"""The server of a study's workers asks CUDA nothing before it forks: CUDA is of no use in a fork of who has asked."""

import json
import os
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
import torch

from rnnlab import config
from tests.rnnlab import tiny_runs

ROOT = Path(__file__).parents[2]


def serve(*jobs: dict[str, Any], folder: Path) -> list[int]:
    """Give a real server those jobs, one after the other, and return the exit codes of its workers."""
    command = [sys.executable, "-c", "from tests.gpu.counted import serve_counted; serve_counted()"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    codes, path = [], folder / "log"
    with (
        path.open("a") as log,
        subprocess.Popen(
            command, stdin=PIPE, stdout=PIPE, stderr=log, text=True, cwd=folder, env=environment
        ) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        for job in jobs:
            server.stdin.write(json.dumps({"place": 0, "log": str(path), "job": job}) + "\n")
            server.stdin.flush()
            server.stdout.readline()  # who the worker is
            codes.append(json.loads(server.stdout.readline() or '{"code": null}')["code"])
        server.stdin.close()
    return codes


def reporting(module: str, folder: Path) -> dict[str, Any]:
    return {"task": f"tests.gpu.{module}:report", "out": str(folder / "report")}


def training(folder: Path) -> dict[str, Any]:
    """A cell of an ablation, as small as runs come."""
    text = tiny_runs.write_text(folder)
    bindings = tiny_runs.bindings(text, "Trainer.steps = 2", "Trainer.device = 'cpu'")
    path = folder / "cell.gin"
    path.write_text(config.resolve(tiny_runs.FRAGMENTS, bindings).text)
    run = str(folder / "run")
    return {
        "task": "rnnlab.studies.launch.run:train_job",
        "config": str(path),
        "seed": 1,
        "folder": run,
        "variant": "a",
    }


@pytest.mark.long
def test_the_server_asks_cuda_nothing_before_it_forks(tmp_path: Path) -> None:
    search = {"task": "rnnlab.studies.search.objective:run_trial"}  # fails without a study, once the server has it
    codes = serve(training(tmp_path), search, reporting("counted", tmp_path), folder=tmp_path)
    assert codes == [0, 1, 0], (tmp_path / "log").read_text()
    assert (tmp_path / "run" / "result.json").exists()
    report = json.loads((tmp_path / "report").read_text())
    assert not report["asked"], report["asked"][0]
    assert not report["is_spoilt"]


@pytest.mark.long
def test_a_server_that_asks_is_caught(tmp_path: Path) -> None:
    """Or the test above could not fail: here the task's module asks when the server imports it."""
    assert serve(reporting("asking", tmp_path), folder=tmp_path) == [0], (tmp_path / "log").read_text()
    report = json.loads((tmp_path / "report").read_text())
    assert len(report["asked"]) == 1
    assert "asking.py" in report["asked"][0]
    assert report["is_spoilt"] == hasattr(torch._C, "_cuda_getDeviceCount"), "by a build for CUDA, with a card or not"

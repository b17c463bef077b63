"""The pool of workers: their environments, and the server and the worker of each slot."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rnnlab.studies.launch.pool import Pool, WorkerExit, worker_environments
from rnnlab.studies.launch.run import train_job
from tests.rnnlab.tiny_runs import build, write_text
from tests.studies.small_studies import is_alive, wait_until


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "variant.gin"
    path.write_text(build(write_text(tmp_path), "Trainer.steps = 100_000").config.text)
    return path


def cell(config: Path, folder: Path) -> dict[str, Any]:
    return {"config": str(config), "seed": 1, "folder": str(folder), "variant": "v"}


def poll(pool: Pool) -> WorkerExit:
    (ended,) = wait_until(pool.poll)
    return ended


def number(pool: Pool) -> int:
    """Of the process of the one worker."""
    (worker,) = pool.workers()
    assert worker is not None
    pid: int = worker["pid"]
    return pid


@pytest.mark.slow
def test_a_pool_runs_stops_and_replaces_its_workers(config: Path, tmp_path: Path) -> None:
    with Pool([{}], tmp_path) as pool:
        pool.start(train_job, cell(tmp_path / "none.gin", tmp_path / "nowhere"))
        ended = poll(pool)
        assert ended.code == 2
        assert "none.gin" in str(ended)
        assert pool.free == 1

        run = tmp_path / "run"
        pool.start(train_job, cell(config, run))
        wait_until(lambda: (run / "checkpoints").exists() and pool.poll() == [] and pool.workers()[0])
        os.kill(number(pool), signal.SIGKILL)
        ended = poll(pool)
        assert ended.code == -signal.SIGKILL
        assert ended.was_killed
        assert "was killed by SIGKILL" in str(ended)

        def journaled() -> int:
            return len((run / "metrics.jsonl").read_bytes())

        before = journaled()
        pool.start(train_job, cell(config, run))  # the same server forks the next
        wait_until(lambda: pool.poll() == [] and pool.workers()[0])
        worker = number(pool)
        wait_until(lambda: f"process {worker} " in (run / "lock").read_text() and journaled() > before)
    assert not is_alive(worker)
    assert json.loads((run / "result.json").read_text())["status"] == "stopped"


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["parent", "server"])
def test_a_worker_saves_and_stops_when_its_parent_or_its_server_is_killed(
    victim: str, config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "rnnlab.studies.launch.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps({"task": "rnnlab.studies.launch.run:train_job", **cell(config, run)}) + "\n")
        server.stdin.flush()
        worker = json.loads(server.stdout.readline())["pid"]
        wait_until(lambda: any((run / "checkpoints").glob("step-*")))
        if victim == "parent":
            server.stdin.close()
        else:
            server.kill()
        wait_until(lambda: not is_alive(worker))
        server.wait(60)
        server.stdout.close()
    assert json.loads((run / "result.json").read_text())["status"] == "stopped"


@pytest.mark.slow
def test_a_server_without_a_job_ends_with_its_input() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rnnlab.studies.launch.worker"], input="", capture_output=True, text=True, timeout=240
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_workers_default_to_the_cores_and_have_one_thread_each() -> None:
    import torch

    cpu = worker_environments(None, torch.device("cpu"))
    assert len(cpu) == len(os.sched_getaffinity(0))
    assert cpu[0] == {"OMP_NUM_THREADS": "1"}
    assert len(worker_environments(5, torch.device("cpu"))) == 5


def test_workers_on_gpus_get_one_each_of_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    devices = [each["CUDA_VISIBLE_DEVICES"] for each in worker_environments(3, torch.device("cuda"))]
    assert devices == ["4", "6", "4"]
    assert len(worker_environments(None, torch.device("cuda"))) == 2
    (named,) = worker_environments(None, torch.device("cuda:1"))
    assert "CUDA_VISIBLE_DEVICES" not in named, "the worker has to find cuda:1 where its configuration says"

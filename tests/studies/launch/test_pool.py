"""The pool of workers: their environments, and the server and the worker of each slot."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rnnlab.errors import ConfigError, RnnlabError, StorageError
from rnnlab.studies.launch.launcher import WorkerExit
from rnnlab.studies.launch.pool import Pool, worker_environments
from rnnlab.studies.launch.run import train_job
from rnnlab.studies.launch.server import end_kept
from tests.rnnlab.tiny_runs import build, write_text
from tests.sampled import sampled
from tests.studies.small_studies import is_alive, wait_until


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "variant.gin"
    path.write_text(build(write_text(tmp_path), "Trainer.steps = 100_000").config.text)
    return path


def cell(config: Path, folder: Path) -> dict[str, Any]:
    return {"config": str(config), "seed": 1, "folder": str(folder), "variant": "v"}


def order(job: dict[str, Any], log: Path) -> str:
    """What a server is told, as `rnnlab.studies.launch.server` does."""
    return json.dumps({"place": 0, "log": str(log), "job": {"task": "rnnlab.studies.launch.run:train_job", **job}})


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
@pytest.mark.parametrize("victim", sampled(["parent", "server"], ("parent",)))
def test_a_worker_saves_and_stops_when_its_parent_or_its_server_is_killed(
    victim: str, config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "rnnlab.studies.launch.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        print(order(cell(config, run), tmp_path / "log"), file=server.stdin, flush=True)
        worker = json.loads(server.stdout.readline())["worker"]["pid"]
        wait_until(lambda: any((run / "checkpoints").glob("step-*")))
        if victim == "parent":
            server.stdin.close()
        else:
            server.kill()
        wait_until(lambda: not is_alive(worker))
        server.wait(60)
        server.stdout.close()
    assert json.loads((run / "result.json").read_text())["status"] == "stopped"


@pytest.mark.long
def test_a_server_without_a_job_ends_with_its_input() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rnnlab.studies.launch.worker"], input="", capture_output=True, text=True, timeout=240
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_exit_of_a_worker_tells_its_last_line_as_far_as_it_can_be_printed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    before = b"of before\n"
    log.write_bytes(
        before + "rnnlab: error: \x1b[31mno \x07space\x1b[0m on\u202e disk\r\n\x1b[2K\n".encode() + b"\xff \n"
    )
    assert str(WorkerExit({}, 5, log, len(before))) == f"a worker exited with 5: \ufffd  (log: {log})"
    log.write_bytes(log.read_bytes()[:-3])
    shown = "no \ufffdspace on\ufffd disk"
    assert str(WorkerExit({}, 5, log, len(before))) == f"a worker exited with 5: {shown} (log: {log})"
    log.write_bytes(before)
    assert str(WorkerExit({}, 5, log, len(before))) == f"a worker exited with 5 (log: {log})"
    log.write_bytes(b"x" * 1_000_000)
    assert len(str(WorkerExit({}, 5, log, 0))) < 1000


def test_the_exit_of_a_worker_is_told_also_without_a_log_or_a_name_of_its_signal(tmp_path: Path) -> None:
    log = tmp_path / "none"
    told = f"its log cannot be read: no such file or directory (log: {log})"
    assert str(WorkerExit({}, 1, log, 0)) == f"a worker exited with 1: {told}"
    assert str(WorkerExit({}, -40, log, 0)) == f"a worker was killed by signal 40: {told}"


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    with (
        Pool([{}], tmp_path) as pool,
        pytest.raises(StorageError, match=r"worker-0\.log: cannot be written: file exists"),
    ):
        pool.start(train_job, {})


@pytest.mark.long
def test_a_server_that_cannot_start_is_told_and_leaves_nothing_open(tmp_path: Path) -> None:
    end_kept()
    opened = len(os.listdir("/proc/self/fd"))
    with Pool([{"PYTHONHOME": "/nowhere"}], tmp_path) as pool:
        pool.start(train_job, {})
        with pytest.raises(RnnlabError, match=r"no worker can be started; a worker exited with 1: .*worker-0\.log"):
            wait_until(pool.poll)
    assert len(os.listdir("/proc/self/fd")) == opened


@pytest.mark.long
def test_a_worker_whose_server_was_killed_counts_as_ended_once_it_has_saved(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    end_kept()
    opened = len(os.listdir("/proc/self/fd"))
    with Pool([{}], tmp_path) as pool:
        pool.start(train_job, cell(config, run))
        wait_until(lambda: pool.poll() == [] and any(run.glob("checkpoints/step-*")))
        worker = number(pool)
        os.kill(int(Path(f"/proc/{worker}/stat").read_text().rpartition(") ")[2].split()[1]), signal.SIGKILL)
        ended = poll(pool)
        assert json.loads((run / "result.json").read_text())["status"] == "stopped"
        assert not is_alive(worker)
        assert (ended.code, ended.was_killed, pool.free) == (-signal.SIGKILL, True, 1)
        assert len(os.listdir("/proc/self/fd")) == opened
        pool.start(train_job, cell(tmp_path / "none.gin", tmp_path / "nowhere"))  # another server is started
        assert poll(pool).code == 2


@pytest.mark.long
def test_what_a_part_prints_while_it_is_imported_goes_to_the_log(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text("print('{not for the parent')\n")
    described = tmp_path / "noisy-1.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: noisy\nVersion: 1\n")
    (described / "entry_points.txt").write_text("[rnnlab.components]\nnoisy = noisy\n")
    with Pool([{"PYTHONPATH": str(tmp_path)}], tmp_path) as pool:
        for _ in range(2):
            pool.start(train_job, cell(tmp_path / "none.gin", tmp_path / "nowhere"))
            assert poll(pool).code == 2
    assert (tmp_path / "logs" / "worker-0.log").read_text().count("not for the parent") == 1


@pytest.mark.long
def test_a_worker_whose_log_takes_no_more_ends_with_its_own_error(tmp_path: Path) -> None:
    done = subprocess.Popen(
        [sys.executable, "-m", "rnnlab.studies.launch.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with done:
        assert done.stdin is not None
        assert done.stdout is not None
        job = cell(tmp_path / "none.gin", tmp_path / "nowhere")
        print(order(job, Path("/dev/full")), file=done.stdin, flush=True)
        assert "pid" in json.loads(done.stdout.readline())["worker"]
        assert json.loads(done.stdout.readline()) == {"place": 0, "code": 2}


@pytest.mark.long
def test_workers_of_one_environment_share_a_server_and_end_one_by_one(config: Path, tmp_path: Path) -> None:
    with Pool([{}, {"RNNLAB_TEST": "1"}, {}], tmp_path) as pool:
        for name in "abc":
            pool.start(train_job, cell(config, tmp_path / name))
        wait_until(lambda: pool.poll() == [] and all(pool.workers()))
        pids = [worker["pid"] for worker in pool.workers() if worker is not None]
        one, other, same = (int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1]) for pid in pids)
        assert one == same != other
        os.kill(pids[0], signal.SIGKILL)
        ended = poll(pool)
        assert (ended.job["folder"], ended.code) == (str(tmp_path / "a"), -signal.SIGKILL)
        assert [is_alive(pid) for pid in pids] == [False, True, True]
        pool.start(train_job, cell(tmp_path / "none.gin", tmp_path / "nowhere"))
        ended = poll(pool)
        assert (ended.code, ended.log.name, "none.gin" in str(ended)) == (2, "worker-0.log", True)
        assert [worker["pid"] for worker in pool.workers() if worker is not None] == pids[1:]


@pytest.mark.long
def test_the_next_study_has_the_server_of_the_last_unless_the_environment_is_another(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def server_of_a_worker(study: str) -> int:
        with Pool([{}], tmp_path / study) as pool:
            pool.start(train_job, cell(config, tmp_path / study / "run"))
            wait_until(lambda: pool.poll() == [] and pool.workers()[0])
            parent = int(Path(f"/proc/{number(pool)}/stat").read_text().rpartition(") ")[2].split()[1])
            os.kill(number(pool), signal.SIGKILL)
            poll(pool)
        return parent

    end_kept()
    first = server_of_a_worker("first")
    shutil.rmtree(tmp_path / "first")  # with the log that the server had
    assert server_of_a_worker("second") == first
    monkeypatch.setenv("RNNLAB_TEST", "1")
    third = server_of_a_worker("third")
    assert third != first
    assert not is_alive(first)
    monkeypatch.chdir(tmp_path)
    with Pool([{}], tmp_path / "fourth") as pool:
        pool.start(train_job, cell(config, tmp_path / "fourth" / "run"))
        wait_until(lambda: pool.poll() == [] and pool.workers()[0])
        working = number(pool)  # and leave the block
    assert not is_alive(third)
    assert not is_alive(working)


@pytest.mark.long
def test_a_server_that_died_while_it_was_kept_is_replaced(tmp_path: Path) -> None:
    end_kept()
    job = cell(tmp_path / "none.gin", tmp_path / "nowhere")
    for study in "ab":
        with Pool([{}], tmp_path / study) as pool:
            pool.start(train_job, job)
            assert poll(pool).code == 2
            server = pool._slots[0].server
        assert server is not None
        assert server.is_alive()
        os.kill(server._process.pid, signal.SIGKILL)
        wait_until(lambda server=server: not is_alive(server._process.pid))


def test_more_workers_than_a_machine_can_have_are_refused() -> None:
    import torch

    with pytest.raises(ConfigError, match=r"--workers 100000: at most 1,000"):
        worker_environments(100_000, torch.device("cpu"))


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

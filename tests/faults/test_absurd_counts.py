"""F36: work without an end, absurd counts, peers that never come: refused, or given up with the limit named."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.processes import PATIENCE, Processes, expect_equal, train_arguments

pytestmark = pytest.mark.faults

ABSURD = {
    "Trainer.accumulate = 1000000000000": "Trainer.accumulate = 1000000000000: a step would read more than all of",
    "Trainer.accumulate = 1000": "Trainer.accumulate = 1000: a step would read more than all of",
    "Trainer.batch_size = 1000000000000": "too few for 1000000000000 sequences",
    "Trainer.eval_batch_size = 1000000000000": "too few for 1000000000000 sequences",
    "Trainer.threads = 1000000": "Trainer.threads = 1000000: 1 to 1024, or None",
    "LanguageModel.dim = 100000000000": "LanguageModel.dim",
}


@pytest.mark.parametrize("binding", ABSURD)
def test_f36_an_absurd_count_is_refused_before_there_is_a_folder(
    binding: str, processes: Processes, text: Path, tmp_path: Path
) -> None:
    child = processes.train(tmp_path / "run", text, binding)
    assert child.wait() in (2, 3), child.err
    assert ABSURD[binding] in child.err
    assert "Traceback" not in child.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("binding", ["Trainer.bptt = 1000000000000", "Trainer.eval_bptt = 1000000000000",
                                     "Trainer.keep = 1000000000000", "memory = 1000000000000"])  # fmt: skip
def test_f36_a_count_that_the_text_bounds_may_be_of_any_size(
    binding: str, processes: Processes, text: Path, tmp_path: Path
) -> None:
    child = processes.train(tmp_path / "run", text, binding, "Trainer.steps = 2", "Trainer.jitter = False")
    assert child.wait() == 0, child.err


def as_a_rank(run: Path, text: Path, code: str = "", **environment: str) -> dict[str, Any]:
    """What Popen is called with; `code` runs before the command."""
    program = f"import rnnlab.cli\nfrom datetime import timedelta\n{code}\nrnnlab.cli.run()"
    command = [sys.executable, "-c", program, *train_arguments(run, text)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return {"args": command, "env": variables, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def run_as_a_rank(run: Path, text: Path, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(**as_a_rank(run, text, code, **environment), timeout=PATIENCE)


def test_f36_a_rank_whose_peer_never_comes_gives_up_in_time(text: Path, tmp_path: Path) -> None:
    shorter = "from rnnlab.training import ranks\nranks.JOINING = timedelta(seconds=2)"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    started = time.monotonic()
    alone = run_as_a_rank(
        tmp_path / "run", text, shorter, RANK="0", WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port
    )
    assert alone.returncode == 1
    assert f"not all of the 2 ranks came to 127.0.0.1:{port} within 2 s" in alone.stderr
    assert "Traceback" not in alone.stderr
    assert time.monotonic() - started < PATIENCE / 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("rank", ["0", "1"])
def test_f36_a_signal_ends_the_wait_for_a_peer_at_once(
    rank: str, number: signal.Signals, code: int, text: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        meeting = {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
        meeting["MASTER_PORT"] = str(server.getsockname()[1])
    said_first = "from rnnlab.training import ranks\nreal = ranks.rendezvous\n"
    said_first += "ranks.rendezvous = lambda *a, **k: print('waits', flush=True) or real(*a, **k)"
    with subprocess.Popen(**as_a_rank(tmp_path / "run", text, said_first, **meeting)) as waiting:
        try:
            assert waiting.stdout is not None
            assert waiting.stdout.readline() == "waits\n"
            time.sleep(1.0)  # until it waits for the other in C++
            waiting.send_signal(number)
            started = time.monotonic()
            _, err = waiting.communicate(timeout=30.0)
        finally:
            waiting.kill()
    assert waiting.returncode == code, err
    assert "Traceback" not in err
    assert time.monotonic() - started < 4.0, "less than the last word of a rank, and far less than JOINING"
    assert not (tmp_path / "run").exists()


MEETING = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29400"}


@pytest.mark.parametrize(
    "left_over",
    [
        {"WORLD_SIZE": "2", "RANK": "0"},
        {"WORLD_SIZE": "many", "RANK": "0"},
        {"WORLD_SIZE": "2", "RANK": "1"},
        {"WORLD_SIZE": "2", "RANK": "5"},
        {"WORLD_SIZE": "2", "RANK": "one", **MEETING},
        {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1"},
        {"WORLD_SIZE": "2", "RANK": "5", **MEETING},
    ],
)
def test_f36_an_environment_without_a_meeting_place_is_refused_at_once(
    left_over: dict[str, str], text: Path, tmp_path: Path
) -> None:
    refused = run_as_a_rank(tmp_path / "run", text, **left_over)
    assert refused.returncode == 2, refused.stderr
    assert "the environment is that of one rank of several" in refused.stderr
    assert "unset WORLD_SIZE and RANK" in refused.stderr


def test_f36_what_another_job_left_in_the_environment_silences_no_command(
    text: Path, whole: Path, tmp_path: Path
) -> None:
    trained = run_as_a_rank(tmp_path / "run", text, RANK="1", LOCAL_RANK="1")
    assert trained.returncode == 0, trained.stderr
    assert "test " in trained.stdout
    expect_equal(tmp_path / "run", whole)
    command = [sys.executable, "-m", "rnnlab", "eval", str(whole), "--bytes", "100"]
    environment = {**os.environ, "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
    scored = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert scored.returncode == 0, scored.stderr
    assert scored.stdout.startswith("test ")

"""F37 to F40: what may happen to the jobs of a study on a real SLURM. It ends complete, with each cell once."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rnnlab.storage import metrics
from tests.processes import Child, Processes
from tests.studies.slurm import Cluster, cluster
from tests.studies.small_studies import is_alive, wait_until, write_study

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

OPTIONS = "partition=debug cpus-per-task=1"
PATIENCE = 400.0  # [s] for what takes half a minute on a machine with nothing else to do
LONG = 12_800  # [bytes] of a cell, 400 steps: long enough to be hit in the middle


@pytest.fixture(scope="module")
def slurm() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


@pytest.fixture(scope="module")
def processes(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """A server of this module's own, which knows its cluster."""
    with Processes(tmp_path_factory.mktemp("processes")) as processes:
        yield processes


@pytest.fixture(autouse=True)
def nothing_is_left(slurm: Cluster, processes: Processes) -> Iterator[None]:
    yield
    for child in processes.children:
        if child.status is None:
            child.kill()
    slurm.clear()


def begin(processes: Processes, folder: Path, options: str = OPTIONS, size: int = LONG) -> Child:
    """The command of an ablation of two cells."""
    path = write_study(folder, "Ablation", deltas={"dropped": ["dropout = 0.2"]}, seeds=1, bytes=size)
    return processes.start("ablate", str(path), "--run", str(folder / "study"), "--slurm", options, "--json")


def end(command: Child) -> int:
    """The exit code. On a busy machine it takes minutes until several jobs have imported torch."""
    deadline = time.monotonic() + PATIENCE
    while is_alive(command.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    return command.wait()


def steps(folder: Path) -> dict[Path, int]:
    """How far each cell is."""
    journals = folder.glob("study/cells/*/seed-*/metrics.jsonl")
    return {path: max(trained(path), default=0) for path in journals}


def trained(journal: Path) -> list[int]:
    """The steps that it has records of."""
    return [one["step"] for one in metrics.read(journal) if one["kind"] == "train"]


def both_train(folder: Path) -> None:
    wait_until(lambda: sum(step > 20 for step in steps(folder).values()) == 2)


def resume(slurm: Cluster, node: str) -> None:
    """Let the node work again; one that was set down comes back by itself as soon as its slurmd is heard."""
    subprocess.run(["scontrol", "update", f"NodeName={node}", "State=RESUME"], capture_output=True)
    wait_until(lambda: slurm.ask("sinfo", "--noheader", "--format=%t").strip("-*\n") in ("idle", "mix", "alloc"))


def expect_complete(folder: Path, command: Child, starts: Sequence[int]) -> None:
    """Two cells, each with one result and a journal without a gap or a repetition.

    Args:
        starts: how many jobs may have begun in all.
    """
    assert end(command) == 0, command.err
    answer = json.loads(command.out)
    assert sum(answer["cells"].values()) == 2
    assert [row["seeds"] for row in answer["tables"]["ablation"]["rows"]] == [1, 1]
    assert len((folder / "study" / "cells.jsonl").read_text().splitlines()) == 2
    for path in steps(folder):
        assert trained(path) == sorted(set(trained(path)))
    lines = [json.loads(line) for path in folder.glob("study/slurm/*/*.jsonl") if path.name != "jobs.jsonl"
             for line in path.read_text().splitlines()]  # fmt: skip
    assert sum(line["event"] == "start" for line in lines) in starts


def test_f37_a_job_that_is_killed_in_the_middle_of_a_cell_costs_it_nothing(
    slurm: Cluster, processes: Processes, tmp_path: Path
) -> None:
    command = begin(processes, tmp_path)
    both_train(tmp_path)
    os.kill(slurm.process_of(min(slurm.jobs("RUNNING").values())), signal.SIGKILL)
    expect_complete(tmp_path, command, starts=[3])


def test_f37_the_command_that_waits_is_killed_and_given_again(
    slurm: Cluster, processes: Processes, tmp_path: Path
) -> None:
    command = begin(processes, tmp_path)
    both_train(tmp_path)
    command.kill()
    command = begin(processes, tmp_path)
    # a cell that ends while the second command begins may get a job once more, which finds it done
    expect_complete(tmp_path, command, starts=[2, 3, 4])


def test_f37_a_job_that_is_cancelled_is_submitted_again(slurm: Cluster, processes: Processes, tmp_path: Path) -> None:
    command = begin(processes, tmp_path)
    both_train(tmp_path)
    slurm.ask("scancel", min(slurm.jobs("RUNNING")))
    expect_complete(tmp_path, command, starts=[3])


def test_f38_a_node_is_drained_in_the_middle_of_a_study(slurm: Cluster, processes: Processes, tmp_path: Path) -> None:
    node = slurm.ask("sinfo", "--noheader", "--format=%n").strip()
    command = begin(processes, tmp_path, f"{OPTIONS} array-parallelism=1", size=LONG // 2)
    wait_until(lambda: len(slurm.jobs("RUNNING")) == 1)
    slurm.ask("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=a test")
    wait_until(lambda: not slurm.jobs("RUNNING", "COMPLETING"))
    assert len(slurm.jobs("PENDING")) == 1
    resume(slurm, node)
    expect_complete(tmp_path, command, starts=[2])


def test_f38_a_node_is_set_down_and_its_jobs_are_put_back(slurm: Cluster, processes: Processes, tmp_path: Path) -> None:
    node = slurm.ask("sinfo", "--noheader", "--format=%n").strip()
    command = begin(processes, tmp_path)
    both_train(tmp_path)
    slurm.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=a test")
    wait_until(lambda: len(slurm.jobs("PENDING")) == 2)
    resume(slurm, node)
    slurm.start_at_once()
    expect_complete(tmp_path, command, starts=[4])


def test_f39_the_controller_is_down_for_a_while(slurm: Cluster, processes: Processes, tmp_path: Path) -> None:
    command = begin(processes, tmp_path, f"{OPTIONS} array-parallelism=1")
    wait_until(lambda: len(slurm.jobs("RUNNING")) == 1)
    slurm.stop_controller()
    time.sleep(60.0 if os.environ.get("RNNLAB_SOAK") else 20.0)
    slurm.start_controller()
    expect_complete(tmp_path, command, starts=[2])


def test_f40_a_cell_that_is_longer_than_the_time_limit_goes_on_in_the_queue(
    slurm: Cluster, processes: Processes, tmp_path: Path
) -> None:
    command = begin(processes, tmp_path, f"{OPTIONS} time=2", size=500 * LONG)
    both_train(tmp_path)
    wait_until(lambda: len(slurm.jobs("PENDING")) == 2)  # each has saved, and asked to be put back
    before = steps(tmp_path)
    slurm.start_at_once()
    wait_until(lambda: all(step > before[path] for path, step in steps(tmp_path).items()))
    command.signal(signal.SIGTERM)
    assert end(command) == 143, command.err
    for path, step in before.items():
        seen = trained(path)  # once: what the cluster has may train on until it is told to end
        assert seen == sorted(set(seen))
        assert step in seen, "what was journaled before the limit was saved"
    (array,) = tmp_path.glob("study/slurm/*")  # SLURM has put them back itself
    for log in array.glob("*.log"):
        assert "the time limit is near: saved, and back into the queue" in log.read_text()

"""Jobs of a real SLURM as the workers of a study: submitted, adopted, cancelled, killed, refused."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from rnnlab.errors import ConfigError, Stopped
from rnnlab.studies.jobs import StudyJobs
from rnnlab.studies.launch.launcher import Detached, WorkerExit
from rnnlab.studies.launch.slurm.arrays import read_arrays
from rnnlab.studies.launch.slurm.pool import SlurmPool
from rnnlab.studies.launch.slurm.request import parse_request
from tests.studies.launch.slurm.tasks import BEGAN, GO, WRONG, wait_to_go
from tests.studies.slurm import Cluster
from tests.studies.small_studies import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

OPTIONS = "partition=debug cpus-per-task=1 time=60 mem=200M"


def job(folder: Path, name: str) -> dict[str, Any]:
    (folder / name).mkdir(parents=True, exist_ok=True)
    return {"folder": str(folder / name), "seed": 1, "variant": name}


def began(folder: Path, name: str) -> int:
    path = folder / name / BEGAN
    return len(path.read_text().split()) if path.exists() else 0


def all_end(pool: SlurmPool, count: int) -> list[WorkerExit]:
    """One listing of the queue may tell of several."""
    ended: list[WorkerExit] = []
    while len(ended) < count:
        ended += wait_until(pool.poll)
    return ended


def ends(pool: SlurmPool) -> WorkerExit:
    (ended,) = all_end(pool, 1)
    return ended


def begins(pool: SlurmPool, folder: Path, *names: str) -> None:
    wait_until(lambda: pool.poll() == [] and all(began(folder, name) for name in names))


def test_jobs_work_and_say_how_they_end(slurm: Cluster, tmp_path: Path) -> None:
    with SlurmPool(tmp_path, parse_request(OPTIONS)) as pool:
        for name in ("well", "ill"):
            pool.start(wait_to_go, job(tmp_path, name))
        begins(pool, tmp_path, "well", "ill")
        wait_until(lambda: pool.poll() == [] and None not in pool.workers())  # the listing is of two seconds ago
        assert pool.busy == 2
        pids = {worker["pid"] for worker in pool.workers() if worker is not None}
        assert pids == {slurm.process_of(number) for number in slurm.jobs().values()}
        (tmp_path / "ill" / GO).write_text(WRONG)
        ended = ends(pool)
        assert (ended.code, ended.job["variant"], ended.was_killed) == (2, "ill", False)
        array = next(iter(slurm.jobs())).partition("_")[0]
        assert str(ended) == f"job {array}_1 exited with 2: this.gin: line 7 is wrong (log: {ended.log})"
        (tmp_path / "well" / GO).touch()
        assert ends(pool).code == 0
        assert pool.busy == 0
    table = StudyJobs.of(tmp_path).table()
    assert [(row["run"], row["code"]) for row in table.rows] == [("well, seed 1", 0), ("ill, seed 1", 2)]
    (note,) = StudyJobs.of(tmp_path).note()
    assert " of 1 h 00 min (time=60), the largest " in note
    assert " of 200 MiB (mem=200M)" in note


def test_the_next_command_adopts_what_is_queued_or_runs_and_submits_the_rest(
    slurm: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with SlurmPool(tmp_path, parse_request(f"{OPTIONS} array-parallelism=1")) as pool:
        for name in ("a", "b"):
            pool.start(wait_to_go, job(tmp_path, name))
        begins(pool, tmp_path, "a")
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped, match="2 jobs go on without this command"):
            pool.poll()
    assert "submitted 2 runs as job" in capsys.readouterr().err
    assert len(slurm.jobs()) == 2, "the jobs outlive the command"
    with SlurmPool(tmp_path, parse_request(f"{OPTIONS} array-parallelism=1")) as pool:
        for name in ("c", "b", "a"):
            pool.start(wait_to_go, job(tmp_path, name))
        wait_until(lambda: pool.poll() == [] and len(slurm.jobs()) == 3)
        said = capsys.readouterr().err
        assert "2 of its jobs are in the queue already, from before" in said
        assert "submitted 1 run as job" in said
        time.sleep(1.0)
        assert len(slurm.jobs("RUNNING")) == 1, "one at a time, over both arrays"
        for name in ("a", "b", "c"):
            (tmp_path / name / GO).touch()
        done = all_end(pool, 3)
    assert sorted(one.job["variant"] for one in done) == ["a", "b", "c"]
    assert [began(tmp_path, name) for name in "abc"] == [1, 1, 1]


def test_what_was_cancelled_or_killed_is_told_from_what_slurm_starts_again(slurm: Cluster, tmp_path: Path) -> None:
    with SlurmPool(tmp_path, parse_request(OPTIONS)) as pool:
        for name in ("cancelled", "killed", "requeued"):
            pool.start(wait_to_go, job(tmp_path, name))
        begins(pool, tmp_path, "cancelled", "killed", "requeued")
        ids = dict(zip(("cancelled", "killed", "requeued"), sorted(slurm.jobs()), strict=True))
        slurm.ask("scancel", ids["cancelled"])
        assert (ended := ends(pool)).code == 128 + signal.SIGTERM
        assert ended.job["variant"] == "cancelled"
        os.kill(slurm.process_of(slurm.jobs()[ids["killed"]]), signal.SIGKILL)
        ended = ends(pool)
        assert (ended.job["variant"], ended.was_killed, ended.gone) == ("killed", True, True)
        assert "ended without a word" in str(ended)
        slurm.ask("scontrol", "requeue", ids["requeued"])
        wait_until(lambda: pool.poll() == [] and slurm.jobs("PENDING"))
        slurm.start_at_once()
        wait_until(lambda: pool.poll() == [] and began(tmp_path, "requeued") == 2)
        (tmp_path / "requeued" / GO).touch()
        assert ends(pool).code == 0


def test_a_refusal_is_told_in_the_words_of_slurm_with_the_option_that_caused_it(slurm: Cluster, tmp_path: Path) -> None:
    for options, words in {
        "partition=nowhere time=10": r"because of --partition=nowhere: .*[Ii]nvalid partition",
        "partition=debug constraint=odd": r"because of --constraint=odd: .*Invalid feature specification",
        "partition=debug what=ever": r"because of --what=ever: unrecognized option",
    }.items():
        with SlurmPool(tmp_path, parse_request(options)) as pool:
            pool.start(wait_to_go, job(tmp_path, "refused"))
            with pytest.raises(ConfigError, match=words):
                wait_until(pool.poll)
    assert read_arrays(tmp_path) == [], "what was not submitted leaves nothing"


def test_a_command_may_leave_its_jobs_alone(slurm: Cluster, tmp_path: Path) -> None:
    with SlurmPool(tmp_path, parse_request(f"{OPTIONS} hold", detach=True)) as pool:
        pool.start(wait_to_go, job(tmp_path, "later"))
        with pytest.raises(Detached):
            wait_until(pool.poll)
    assert len(slurm.jobs("PENDING")) == 1
    with SlurmPool(tmp_path, parse_request(OPTIONS)) as pool:
        pool.start(wait_to_go, job(tmp_path, "later"))
        wait_until(lambda: pool.poll() == [] and None in pool.workers() and pool.busy)
        wait_until(lambda: pool.poll() == [] and not pool._collected)
        pool.stop(patience=30.0)
    wait_until(lambda: not slurm.jobs())


def test_two_thousand_jobs_are_submitted_within_the_limits_listed_and_reported_in_seconds(
    slurm: Cluster, tmp_path: Path
) -> None:
    jobs = [{"folder": str(tmp_path / f"cell-{number}"), "seed": number, "variant": "v"} for number in range(2000)]
    started = time.monotonic()
    for _ in range(2):  # the second command adopts them all
        with SlurmPool(tmp_path, parse_request(f"{OPTIONS} hold array-parallelism=2", detach=True)) as pool:
            for each in jobs:
                pool.start(wait_to_go, each)
            with pytest.raises(Detached):
                wait_until(pool.poll)
            assert pool.busy == 2000
    found = StudyJobs.of(tmp_path).asked()
    assert found.listing is not None
    assert len(found.listing) == len(found.elements) == 2000
    assert len({element.array for element in found.elements}) == 4, "an array has 501 elements at most"
    assert "2,000 pending" in found.lines()[0]
    assert json.loads((found.elements[0].array / "request.json").read_text())["partition"] == "debug"
    assert time.monotonic() - started < 60.0
    pool.stop(patience=60.0)
    wait_until(lambda: not slurm.jobs())

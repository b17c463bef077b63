"""A search as jobs of a real SLURM, with its trials in a file or in PostgreSQL."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from rnnlab.errors import ConfigError
from rnnlab.studies.launch.slurm.request import parse_request
from rnnlab.studies.search.driver import run_search
from rnnlab.studies.search.plan import plan_search
from tests.processes import begin
from tests.studies.postgres import server
from tests.studies.slurm import Cluster
from tests.studies.small_studies import expect_exactly, trials_of, wait_until, write_study

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1200)]

PATIENCE = 800.0  # [s] for what takes a minute on a machine with nothing else to do
OPTIONS = "partition=debug cpus-per-task=1 array-parallelism=4"


@pytest.fixture(params=[pytest.param("a file", marks=pytest.mark.soak), "PostgreSQL"])
def storage(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    if request.param == "a file":
        yield []
    else:
        with server() as url:
            yield ["--storage", url]


def test_twelve_trials_end_with_exactly_twelve_whatever_becomes_of_their_jobs(
    slurm: Cluster, storage: list[str], tmp_path: Path
) -> None:
    path = write_study(tmp_path, "Search", trials=12, bytes=2560, heartbeat=2)
    run = tmp_path / "study"
    plan = plan_search(str(path), run=run, storage=storage[-1] if storage else None)
    command = ["search", path, "--run", run, *storage, "--slurm", OPTIONS, "--json"]
    with begin(*command) as parent:
        wait_until(lambda: slurm.jobs("RUNNING"))
        parent.signal(signal.SIGKILL)
    with begin(*command) as parent:
        wait_until(lambda: slurm.jobs("RUNNING") and list(run.glob("trials/*/metrics.jsonl")))
        os.kill(slurm.process_of(min(slurm.jobs("RUNNING").values())), signal.SIGKILL)
        code, out, err = parent.finish()
        assert code == 0, err
    answer = json.loads(out)
    expect_exactly(plan, 12)
    assert answer["trials"]["complete"] == 12
    assert trials_of(plan, TrialState.RUNNING) == []
    wait_until(lambda: not slurm.jobs())


def test_a_password_is_not_written_down_for_the_jobs(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Search")
    plan = plan_search(str(path), run=tmp_path / "study", storage="postgresql+psycopg://me:hidden@nowhere/rnnlab")
    with pytest.raises(ConfigError, match="may hold no password") as caught:
        run_search(plan, slurm=parse_request(OPTIONS))
    assert "hidden" not in str(caught.value)

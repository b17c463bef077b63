"""Searches on PostgreSQL: several commands on one study, as from several machines, and the faults F14 to F16."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy
from optuna.trial import TrialState

from rnnlab.errors import ConfigError, StorageError
from rnnlab.studies.launch.locks import exclusive
from rnnlab.studies.search.database import retry_history
from rnnlab.studies.search.look import _read_only
from rnnlab.studies.search.plan import SearchPlan, create_or_resume, plan_search
from rnnlab.studies.status import status
from tests.faults.test_search_workers import run_six_processes_at_once
from tests.processes import begin
from tests.studies.postgres import server
from tests.studies.small_studies import (
    catch_worker,
    expect_exactly,
    trials_of,
    wait_until,
    watch_study,
    write_study,
)

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server() as url:
        yield url


def prepare(run: Path, url: str, trials: int, workers: int) -> tuple[SearchPlan, list[str | Path]]:
    """A small search, and the command for it."""
    path = write_study(run.parent, "Search", trials=trials, bytes=2560)
    plan = plan_search(str(path), run=run, storage=url)
    return plan, ["search", path, "--run", run, "--storage", url, "--workers", str(workers), "--json"]


@pytest.mark.long
def test_two_commands_at_once_with_folders_of_their_own_share_one_study(url: str, tmp_path: Path) -> None:
    path = write_study(tmp_path, "Search", trials=5, bytes=1280, confirm=1, confirm_seeds=2, heartbeat=2)
    runs = [tmp_path / machine / "shared" for machine in ("here", "there")]  # one name, as the same command gives
    plans = [plan_search(str(path), run=run, storage=url) for run in runs]
    commands = [begin("search", path, "--run", run, "--storage", url, "--workers", "1", "--json") for run in runs]
    answers = []
    for command in commands:
        with command:
            answers.append(command.succeed())
    for plan, answer in zip(plans, answers, strict=True):
        expect_exactly(plan, 5)
        assert sum(answer["trials"].values()) == 5
    folders = [{path.name for path in (run / "trials").iterdir()} for run in runs]
    assert not folders[0] & folders[1], "a trial ran twice"
    assert len(folders[0] | folders[1]) == len(trials_of(plans[0]))
    assert answers[0]["best"] == answers[1]["best"]
    assert answers[0]["confirmed"] == answers[1]["confirmed"]


@pytest.mark.long
@pytest.mark.soak
def test_a_search_whose_folder_was_renamed_goes_on_where_it_was(url: str, tmp_path: Path) -> None:
    plan, command = prepare(tmp_path / "old", url, trials=2, workers=1)
    begin(*command).succeed()
    before = trials_of(plan)
    (tmp_path / "old").rename(tmp_path / "new")
    plan, command = prepare(tmp_path / "new", url, trials=3, workers=1)
    begin(*command).succeed()
    assert plan.address.name == "old"
    expect_exactly(plan, 3)
    assert trials_of(plan)[:2] == before
    assert len(list((tmp_path / "new" / "trials").iterdir())) == 3


@pytest.mark.long
@pytest.mark.faults
def test_f14_a_killed_worker_costs_no_trial(url: str, tmp_path: Path) -> None:
    plan, command = prepare(tmp_path / "killed", url, trials=3, workers=2)
    with begin(*command) as parent:
        trial, worker = catch_worker(plan)
        os.kill(worker, signal.SIGKILL)
        parent.succeed()
    expect_exactly(plan, 3)
    (retried,) = [t for t in trials_of(plan, TrialState.COMPLETE) if retry_history(t) == [trial.number]]
    assert retried.params == trial.params


@pytest.mark.long
@pytest.mark.faults
def test_f14_a_worker_of_another_machine_that_is_gone_is_told_by_its_heartbeat(url: str, tmp_path: Path) -> None:
    plan, command = prepare(tmp_path / "far", url, trials=2, workers=1)
    with begin(*command) as parent:
        trial, worker = catch_worker(plan)
        parent.signal(signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)
    study = watch_study(url, plan.address.name)
    elsewhere = {**trial.user_attrs["worker"], "host": "another"}
    study._storage.set_trial_user_attr(trial._trial_id, "worker", elsewhere)
    begin(*command).succeed()
    expect_exactly(plan, 2)
    assert any(trial.number in retry_history(t) for t in trials_of(plan, TrialState.COMPLETE))


@pytest.mark.long
@pytest.mark.faults
def test_f15_six_processes_that_start_at_once_make_one_study_and_no_trial_too_many(url: str) -> None:
    run_six_processes_at_once(url)


@pytest.mark.long
@pytest.mark.faults
def test_f16_a_worker_that_is_held_up_past_its_grace_loses_its_trial(url: str, tmp_path: Path) -> None:
    plan, command = prepare(tmp_path / "held", url, trials=2, workers=2)
    with begin(*command) as parent:
        trial, worker = catch_worker(plan)
        wait_until(lambda: trials_of(plan)[trial.number].state is TrialState.FAIL)
        os.kill(worker, signal.SIGCONT)
        parent.succeed()
    expect_exactly(plan, 2)


def test_the_status_of_a_search_is_read_from_its_database_and_nothing_is_written(url: str, tmp_path: Path) -> None:
    path = write_study(tmp_path, "Search", trials=1, bytes=64)
    plan = plan_search(str(path), run=tmp_path / "told", storage=url)
    create_or_resume(plan)
    facts, text = status(plan.folder, url)
    assert facts["trials"]["waiting"] == 1
    assert "a search of 1 trials" in text
    parsed, connect_args = _read_only(url)
    engine = sqlalchemy.create_engine(parsed, connect_args=connect_args, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection, pytest.raises(sqlalchemy.exc.InternalError, match="read-only transaction"):
        connection.execute(sqlalchemy.text("CREATE TABLE mark (x int)"))
    with pytest.raises(StorageError, match="cannot be read"):
        status(plan.folder, url.replace("/postgres", "/nowhere"))


def test_the_lock_of_a_database_lets_one_in_at_a_time(url: str) -> None:
    held = pytest.raises(StorageError, match="another process has held the study's lock")
    with exclusive(url), held, exclusive(url, patience=0.3):
        pass
    with exclusive(url, patience=5.0) as release:
        release()
        with exclusive(url, patience=5.0):
            pass


@pytest.mark.long
def test_a_changed_space_is_refused_on_every_storage(url: str, tmp_path: Path) -> None:
    path = write_study(tmp_path, "Search")
    plan = plan_search(str(path), run=tmp_path / "changed", storage=url)
    create_or_resume(plan)
    path = write_study(tmp_path, "Search", space={"dropout": {"type": "float", "low": 0.0, "high": 0.1}})
    changed = plan_search(str(path), run=tmp_path / "changed", storage=url)
    assert changed.address == replace(plan.address)
    with pytest.raises(ConfigError, match="the space changed"):
        create_or_resume(changed)

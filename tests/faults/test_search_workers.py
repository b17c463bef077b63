"""F14 to F17, F28: searches whose workers are killed, start at once, are held up, gone on with, or cannot be seen."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState

from rnnlab.storage import metrics
from rnnlab.studies.search.database import retry_history
from rnnlab.studies.search.plan import SearchPlan, plan_search
from tests.processes import begin
from tests.studies.small_studies import (
    Command,
    catch_worker,
    expect_exactly,
    is_alive,
    params_by_draw,
    running_workers,
    search_in,
    trials_of,
    wait_until,
    watch_study,
    write_study,
)

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(600)]

SOAK = bool(os.environ.get("RNNLAB_SOAK"))


def prepare(folder: Path, **arguments: object) -> tuple[SearchPlan, list[str]]:
    """(the plan, the command line) of a search that is not begun."""
    path = write_study(folder, "Search", **arguments)
    plan = plan_search(str(path), run=folder / "study")
    return plan, ["search", str(path), "--run", str(folder / "study"), "--json"]


@pytest.mark.parametrize("attempt", range(30 if SOAK else 2))
def test_f14_killed_workers_and_parents_cost_no_trial(
    attempt: int, tmp_path: Path, record_property: pytest.FixtureRequest
) -> None:
    plan, command = prepare(tmp_path, trials=5, bytes=2560)
    with begin(*command, "--workers", "2") as first:
        trial, worker = catch_worker(plan, reported=2)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: trials_of(plan, TrialState.FAIL))
        _, second = catch_worker(plan)
        first.signal(signal.SIGKILL)
        os.kill(second, signal.SIGKILL)
        first.finish()
    answer = begin(*command, "--workers", "2").succeed()
    expect_exactly(plan, 5)
    assert sum(answer["trials"].values()) == 5
    retried = next(t for t in trials_of(plan) if trial.number in retry_history(t) and t.state is TrialState.COMPLETE)
    assert retried.params == trial.params
    reported = max(trial.intermediate_values)
    kept = metrics.read(plan.folder / "trials" / f"trial-{retried.number:04d}" / "metrics.jsonl")
    assert [r for r in kept if r["kind"] == "valid" and r["bytes"] <= reported], "it went on from its checkpoint"
    record_property("tries", attempt + 1)


SIX = """
import sys
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from rnnlab.studies.search.database import Address, run_one_trial, silence_optuna

silence_optuna()
address = Address(sys.argv[1], "six", heartbeat=1)
with address.locked():
    if not address.exists():
        address.create()

def objective(study, trial, release):
    x = trial.suggest_float("x", 0.0, 1.0)
    release()
    return x

while run_one_trial(address, 15, objective, lambda draw: RandomSampler(seed=draw), NopPruner()):
    pass
"""


def run_six_processes_at_once(url: str) -> None:
    six = [subprocess.Popen([sys.executable, "-c", SIX, url], stderr=subprocess.PIPE, text=True) for _ in range(6)]
    for process in six:
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    trials = watch_study(url, "six").trials
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 15
    assert len({t.params["x"] for t in trials}) == 15, "workers repeat each other"


@pytest.mark.parametrize("attempt", range(30 if SOAK else 2))
def test_f15_six_processes_that_start_at_once_make_one_study_and_no_trial_too_many(
    attempt: int, tmp_path: Path
) -> None:
    run_six_processes_at_once(f"sqlite:///{tmp_path / 'study.db'}")


def test_f15_six_searches_that_start_at_once_share_one_study(tmp_path: Path) -> None:
    plan, command = prepare(tmp_path, trials=6, bytes=320, evaluations=1, heartbeat=10)
    commands = [begin(*command, "--workers", "1") for _ in range(6)]
    for each in commands:
        with each:
            assert sum(each.succeed()["trials"].values()) == 6
    expect_exactly(plan, 6)
    assert len(list((plan.folder / "trials").iterdir())) == len(trials_of(plan))


@pytest.mark.parametrize("attempt", range(20 if SOAK else 1))
def test_f16_a_worker_that_is_held_up_past_its_grace_loses_its_trial_and_does_no_harm(
    attempt: int, tmp_path: Path
) -> None:
    plan, command = prepare(tmp_path, trials=3, bytes=2560)
    with begin(*command, "--workers", "2") as parent:
        trial, worker = catch_worker(plan)
        wait_until(lambda: trials_of(plan)[trial.number].state is TrialState.FAIL)
        wait_until(lambda: any(trial.number in retry_history(t) for t in trials_of(plan)))
        retried = wait_until(
            lambda: [
                t for t in trials_of(plan) if trial.number in retry_history(t) and t.state is not TrialState.WAITING
            ]
        )[0]
        wait_until(lambda: (plan.folder / "trials" / f"trial-{retried.number:04d}" / "config.gin").exists())
        os.kill(worker, signal.SIGCONT)
        parent.succeed()
    expect_exactly(plan, 3)
    assert not is_alive(worker)
    assert trials_of(plan)[retried.number].params == trial.params
    assert trials_of(plan)[trial.number].state is TrialState.FAIL


def test_f17_a_study_that_is_stopped_and_gone_on_with_draws_what_an_uninterrupted_one_draws(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = search_in(tmp_path / "whole", trials=5, bytes=1280)
    plan, command = prepare(tmp_path, trials=5, bytes=1280)
    with begin(*command, "--workers", "1") as first:
        trial, worker = catch_worker(plan)
        while trial.number < 2:
            os.kill(worker, signal.SIGCONT)
            trial, worker = catch_worker(plan)
        first.signal(signal.SIGTERM)
        os.kill(worker, signal.SIGCONT)
        code, _, err = first.finish()
    assert code == 143, err
    assert not trials_of(plan, TrialState.RUNNING)
    begin(*command, "--workers", "1").succeed()
    expect_exactly(plan, 5)
    assert params_by_draw(plan) == params_by_draw(whole)
    values = {t.user_attrs["draw"]: t.value for t in trials_of(plan, TrialState.COMPLETE)}
    assert values == {t.user_attrs["draw"]: t.value for t in trials_of(whole)}


UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Begins a PID namespace: the processes in it have numbers of their own, and see no others."""


def can_unshare() -> bool:
    return bool(shutil.which("unshare")) and subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0


needs_namespaces = pytest.mark.skipif(not can_unshare(), reason="PID namespaces cannot be made here")


@needs_namespaces
def test_f28_searches_in_two_pid_namespaces_of_one_machine_share_one_study(tmp_path: Path) -> None:
    plan, command = prepare(tmp_path, trials=6, bytes=1280, heartbeat=10)
    commands = [Command(*command, "--workers", "1", under=UNSHARE) for _ in range(2)]
    for each in commands:
        with each:
            assert sum(each.succeed()["trials"].values()) == 6
    expect_exactly(plan, 6)
    assert not trials_of(plan, TrialState.FAIL), "a live worker was taken for dead"
    hosts = [t.user_attrs["worker"]["namespace"] for t in trials_of(plan)]
    assert len(set(hosts)) == 2, "both took part"


@needs_namespaces
def test_f28_a_search_that_dies_with_its_namespace_is_gone_on_with_from_another(tmp_path: Path) -> None:
    plan, command = prepare(tmp_path, trials=3, bytes=2560, heartbeat=1)
    with Command(*command, "--workers", "1", under=UNSHARE) as first:
        wait_until(lambda: running_workers(plan) and trials_of(plan, TrialState.RUNNING)[0].intermediate_values)
        first.signal(signal.SIGKILL)
        first.finish()
    Command(*command, "--workers", "1", under=UNSHARE).succeed()
    expect_exactly(plan, 3)

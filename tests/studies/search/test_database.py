"""Who works on which trial: exact budgets, retries, and trials that change hands. The objective is a parabola."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from rnnlab import rng
from rnnlab.errors import StorageError
from rnnlab.studies.launch.locks import exclusive
from rnnlab.studies.launch.process import process_identity
from rnnlab.studies.search.database import (
    Address,
    SharedStudy,
    TrialLost,
    open_study,
    retry_history,
    run_one_trial,
    silence_optuna,
)

BY_HAND = pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")  # trials that nobody optimizes

silence_optuna()


@pytest.fixture
def address(tmp_path: Path) -> Address:
    address = Address(f"sqlite:///{tmp_path / 'study.db'}", "parabola", heartbeat=1)
    with address.locked():
        address.create()
    return address


def sampler(draw: int) -> RandomSampler:
    return RandomSampler(seed=rng.derive(1, draw, "sampler") % 2**32)


def parabola(study: SharedStudy, trial: optuna.Trial, release: Callable[[], None]) -> float:
    x = trial.suggest_float("x", -1.0, 1.0)
    release()
    return x * x


def work_once(address: Address, budget: int, objective: Any = parabola) -> bool:
    return run_one_trial(address, budget, objective, sampler, NopPruner())


def xs(address: Address) -> dict[int, float]:
    """What each draw came to, of the trials that finished."""
    with open_study(address) as study:
        return {t.user_attrs["draw"]: t.params["x"] for t in study.finished()}


@pytest.mark.slow
def test_a_budget_is_spent_exactly(address: Address) -> None:
    assert [work_once(address, 3) for _ in range(5)] == [True, True, True, False, False]
    with open_study(address) as study:
        assert study.remaining(3) == 0
        assert study.remaining(5) == 2
    assert sorted(xs(address)) == [0, 1, 2]


@pytest.mark.long
def test_the_same_seed_draws_the_same_whether_or_not_trials_failed_in_between(tmp_path: Path) -> None:
    def troubled(study: SharedStudy, trial: optuna.Trial, release: Callable[[], None]) -> float:
        value = parabola(study, trial, release)
        if trial.number in (1, 2, 4):
            raise OSError("no")
        return value

    drawn = []
    for name, objective in (("calm", parabola), ("troubled", troubled)):
        address = Address(f"sqlite:///{tmp_path / name}.db", name, heartbeat=1)
        with address.locked():
            address.create()
        more = True
        while more:
            try:
                more = work_once(address, 4, objective)
            except OSError:
                continue
        drawn.append(xs(address))
    assert drawn[0] == drawn[1]
    assert sorted(drawn[0]) == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_trial_that_failed_is_tried_again_with_its_parameters_and_what_it_reported(address: Address) -> None:
    def failing(study: SharedStudy, trial: optuna.Trial, release: Callable[[], None]) -> float:
        parabola(study, trial, release)
        trial.report(0.5, 100)
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        work_once(address, 1, failing)
    seen = {}

    def watching(study: SharedStudy, trial: optuna.Trial, release: Callable[[], None]) -> float:
        value = parabola(study, trial, release)
        seen.update(study.trials()[trial.number].intermediate_values)
        return value

    assert work_once(address, 1, watching)
    with open_study(address) as study:
        first, second = study.trials()
    assert first.state is TrialState.FAIL
    assert second.state is TrialState.COMPLETE
    assert first.params == second.params
    assert seen == {100: 0.5}
    assert retry_history(second) == [0]


@pytest.mark.slow
@BY_HAND
def test_a_failed_trial_is_queued_once_however_many_notice(address: Address) -> None:
    with open_study(address) as study:
        trial = study.optuna.ask()
        study.optuna.tell(trial, state=TrialState.FAIL)
        study.retry(trial.number)
        study.retry(trial.number)
        assert len(study.trials()) == 2
        study.retry(1)  # it has not failed
        assert len(study.trials()) == 2


@pytest.mark.slow
@BY_HAND
def test_a_trial_whose_worker_and_who_failed_it_both_died_is_queued_by_the_next_to_look(address: Address) -> None:
    with open_study(address) as study:
        study.optuna.tell(study.optuna.ask(), state=TrialState.FAIL)  # and killed before it was queued
        for _ in range(2):
            study.requeue_abandoned()
            assert [retry_history(trial) for trial in study.trials(TrialState.WAITING)] == [[0]]


def sign(trial: optuna.Trial, **changes: Any) -> None:
    trial.set_user_attr("worker", {"trial": trial.number, **process_identity(), **changes})


@BY_HAND
@pytest.mark.slow
def test_a_trial_is_taken_from_a_worker_only_if_its_process_is_gone(address: Address) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        ended.wait()
    with open_study(address) as study:
        alive, unsigned, dead, namesake, elsewhere, hidden, inherited = (study.optuna.ask() for _ in range(7))
        sign(alive)
        sign(dead, pid=ended.pid)
        sign(namesake, started=(process_identity()["started"] or 0) + 1)
        sign(elsewhere, host="another", pid=ended.pid)
        sign(hidden, namespace="another", pid=ended.pid)
        inherited.set_user_attr("worker", {"trial": 99, **process_identity()})
        gone = study.requeue_abandoned()
        assert gone == [unsigned.number, dead.number, namesake.number, inherited.number]
        running = [t.number for t in study.trials(TrialState.RUNNING)]
        assert running == [alive.number, elsewhere.number, hidden.number]
        assert len(study.trials(TrialState.WAITING)) == 4


@pytest.mark.long
def test_a_worker_that_was_held_up_past_its_grace_learns_that_its_trial_is_lost(address: Address) -> None:
    def slow(study: SharedStudy, trial: optuna.Trial, release: Callable[[], None]) -> float:
        value = parabola(study, trial, release)
        with open_study(address) as other:
            other.optuna.tell(trial.number, state=TrialState.FAIL)
            other.retry(trial.number)
        return value

    with pytest.raises(TrialLost):
        work_once(address, 1, slow)
    assert work_once(address, 1)
    with open_study(address) as study:
        assert [t.state for t in study.trials()] == [TrialState.FAIL, TrialState.COMPLETE]


HOLDER = """
import sys, time
from rnnlab.studies.launch.locks import exclusive
with exclusive(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_the_lock_lets_one_in_and_dies_with_its_holder(address: Address) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, address.url], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(StorageError, match=rf"study\.db\.lock: process {holder.pid} on .* has held"),
            exclusive(address.url, patience=0.2),
        ):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with exclusive(address.url, patience=5.0):
            pass


def test_a_database_that_does_not_answer_is_named_without_its_password() -> None:
    address = Address("postgresql+psycopg://anna:secret@127.0.0.1:9/none?connect_timeout=3", "s", heartbeat=1)
    with pytest.raises(StorageError) as caught, open_study(address):
        pass
    assert "127.0.0.1:9" in str(caught.value)
    assert "secret" not in str(caught.value)

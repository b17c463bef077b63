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
from rnnlab.errors import ConfigError, StorageError
from rnnlab.studies.ledger import Address, Ledger, Lost, identity, opened, quietly, retry_history, work
from rnnlab.studies.locks import check_url, exclusive

BY_HAND = pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")  # trials that nobody optimizes

quietly()


@pytest.fixture
def address(tmp_path: Path) -> Address:
    address = Address(f"sqlite:///{tmp_path / 'study.db'}", "parabola", heartbeat=1)
    with exclusive(address.url):
        optuna.create_study(study_name=address.name, storage=address.storage())
    return address


def sampler(ledger: Ledger) -> RandomSampler:
    return RandomSampler(seed=rng.derive(1, ledger.next_draw(), "sampler") % 2**32)


def parabola(ledger: Ledger, trial: optuna.Trial, release: Callable[[], None]) -> float:
    x = trial.suggest_float("x", -1.0, 1.0)
    release()
    return x * x


def work_once(address: Address, budget: int, objective: Any = parabola) -> bool:
    return work(address, budget, objective, sampler, NopPruner())


def xs(address: Address) -> dict[int, float]:
    """What each draw came to, of the trials that finished."""
    with opened(address) as ledger:
        return {t.user_attrs["draw"]: t.params["x"] for t in ledger.finished()}


def test_a_budget_is_spent_exactly(address: Address) -> None:
    assert [work_once(address, 3) for _ in range(5)] == [True, True, True, False, False]
    with opened(address) as ledger:
        assert ledger.open_slots(3) == 0
        assert ledger.open_slots(5) == 2
    assert sorted(xs(address)) == [0, 1, 2]


def test_the_same_seed_draws_the_same_whether_or_not_trials_failed_in_between(tmp_path: Path) -> None:
    def troubled(ledger: Ledger, trial: optuna.Trial, release: Callable[[], None]) -> float:
        value = parabola(ledger, trial, release)
        if trial.number in (1, 2, 4):
            raise OSError("no")
        return value

    drawn = []
    for name, objective in (("calm", parabola), ("troubled", troubled)):
        address = Address(f"sqlite:///{tmp_path / name}.db", name, heartbeat=1)
        with exclusive(address.url):
            optuna.create_study(study_name=name, storage=address.storage())
        more = True
        while more:
            try:
                more = work_once(address, 4, objective)
            except OSError:
                continue
        drawn.append(xs(address))
    assert drawn[0] == drawn[1]
    assert sorted(drawn[0]) == [0, 1, 2, 3]


def test_a_trial_that_failed_is_tried_again_with_its_parameters_and_what_it_reported(address: Address) -> None:
    def failing(ledger: Ledger, trial: optuna.Trial, release: Callable[[], None]) -> float:
        parabola(ledger, trial, release)
        trial.report(0.5, 100)
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        work_once(address, 1, failing)
    seen = {}

    def watching(ledger: Ledger, trial: optuna.Trial, release: Callable[[], None]) -> float:
        value = parabola(ledger, trial, release)
        seen.update(ledger.trials()[trial.number].intermediate_values)
        return value

    assert work_once(address, 1, watching)
    with opened(address) as ledger:
        first, second = ledger.trials()
    assert first.state is TrialState.FAIL
    assert second.state is TrialState.COMPLETE
    assert first.params == second.params
    assert seen == {100: 0.5}
    assert retry_history(second) == [0]


@BY_HAND
def test_a_failed_trial_is_queued_once_however_many_notice(address: Address) -> None:
    with opened(address) as ledger:
        trial = ledger.study.ask()
        ledger.study.tell(trial, state=TrialState.FAIL)
        ledger.retry(trial.number)
        ledger.retry(trial.number)
        assert len(ledger.trials()) == 2
        ledger.retry(1)  # it has not failed
        assert len(ledger.trials()) == 2


def sign(trial: optuna.Trial, **changes: Any) -> None:
    trial.set_user_attr("worker", {"trial": trial.number, **identity(), **changes})


@BY_HAND
def test_a_trial_is_taken_from_a_worker_only_if_its_process_is_gone(address: Address) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        ended.wait()
    with opened(address) as ledger:
        alive, unsigned, dead, namesake, elsewhere, inherited = (ledger.study.ask() for _ in range(6))
        sign(alive)
        sign(dead, pid=ended.pid)
        sign(namesake, started=(identity()["started"] or 0) + 1)
        sign(elsewhere, host="another", pid=1)
        inherited.set_user_attr("worker", {"trial": 99, **identity()})
        gone = ledger.reap()
        assert gone == [unsigned.number, dead.number, namesake.number, inherited.number]
        running = [t.number for t in ledger.trials(TrialState.RUNNING)]
        assert running == [alive.number, elsewhere.number]
        assert len(ledger.trials(TrialState.WAITING)) == 4


def test_a_worker_that_was_held_up_past_its_grace_learns_that_its_trial_is_lost(address: Address) -> None:
    def slow(ledger: Ledger, trial: optuna.Trial, release: Callable[[], None]) -> float:
        value = parabola(ledger, trial, release)
        with opened(address) as other:
            other.study.tell(trial.number, state=TrialState.FAIL)
            other.retry(trial.number)
        return value

    with pytest.raises(Lost):
        work_once(address, 1, slow)
    assert work_once(address, 1)
    with opened(address) as ledger:
        assert [t.state for t in ledger.trials()] == [TrialState.FAIL, TrialState.COMPLETE]


HOLDER = """
import sys, time
from rnnlab.studies.locks import exclusive
with exclusive(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


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


@pytest.mark.parametrize(
    "url", ["study.db", "sqlite://", "mysql://h/d", "postgresql://h/d", "postgresql+psycopg2://h/d", ""]
)
def test_a_storage_that_cannot_carry_a_study_is_refused_with_those_that_can(url: str) -> None:
    with pytest.raises(ConfigError, match=r"sqlite:///FILE .* postgresql\+psycopg://"):
        check_url(url)


def test_a_database_that_does_not_answer_is_named_without_its_password() -> None:
    address = Address("postgresql+psycopg://anna:secret@127.0.0.1:9/none?connect_timeout=3", "s", heartbeat=1)
    with pytest.raises(StorageError) as caught, opened(address):
        pass
    assert "127.0.0.1:9" in str(caught.value)
    assert "secret" not in str(caught.value)

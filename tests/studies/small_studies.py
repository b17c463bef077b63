"""Studies whose runs take a fraction of a second, for tests of what a study promises."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import NullPool

from rnnlab.studies import definition
from rnnlab.studies.ablation.plan import AblationPlan, plan_ablation
from rnnlab.studies.search.database import silence_optuna
from rnnlab.studies.search.driver import run_search
from rnnlab.studies.search.plan import SearchPlan, plan_search
from tests.processes import PATIENCE
from tests.rnnlab.tiny_runs import write_text

BASE = ["sha_rnn", "size/tiny"]
OVERRIDES = [
    "LanguageModel.dim = 8",
    "memory = 16",
    "Trainer.batch_size = 2",
    "Trainer.bptt = 16",
    "Trainer.eval_batch_size = 2",
    "Trainer.eval_bptt = 64",
    "Trainer.eval_bytes = 200",
]
SPACE = {
    "SingleHead.memory": {"type": "int", "low": 4, "high": 64, "log": True},
    "dropout": {"type": "float", "low": 0.0, "high": 0.5},
}
DROPPED = {"dropped": ["dropout = 0.2"]}

silence_optuna()


def write_study(folder: Path, noun: str, **arguments: Any) -> Path:
    """A study file that binds the arguments over those of a small study."""
    text = write_text(folder, size=4000)
    overrides = [*OVERRIDES, "Trainer.source = @corpus.File", f"File.path = {str(text)!r}"]
    common: dict[str, Any] = {"base": BASE, "overrides": overrides, "bytes": 640}
    if noun == "Search":
        common |= {"space": SPACE, "trials": 4, "confirm": 0, "startup": 3, "pruner": "none", "evaluations": 4,
                   "heartbeat": 2}  # fmt: skip
    path = folder / "study.gin"
    path.write_text("".join(f"{noun}.{name} = {value!r}\n" for name, value in (common | arguments).items()))
    return path


def small_ablation(folder: Path, *overrides: str, **arguments: Any) -> AblationPlan:
    """The plan of an ablation in `folder/study`."""
    path = write_study(folder, "Ablation", **{"deltas": DROPPED, "seeds": 2, **arguments})
    return plan_ablation(str(path), (), overrides, run=folder / "study")


def small_ladder(folder: Path, *overrides: str, **arguments: Any) -> AblationPlan:
    """The plan of an ablation at three sizes in `folder/study`."""
    path = write_ladder(folder, **arguments)
    return plan_ablation(str(path), (), overrides, run=folder / "study")


def write_ladder(folder: Path, **arguments: Any) -> Path:
    """A study file of three sizes, the largest first: where it stands says nothing about its size."""
    sizes = {str(dim): [f"LanguageModel.dim = {dim}", f"Trainer.bytes = {40 * dim}"] for dim in (24, 8, 16)}
    text = write_text(folder, size=4000)
    bound = [line for line in OVERRIDES if not line.startswith("LanguageModel.dim")]
    overrides = [*bound, "Trainer.source = @corpus.File", f"File.path = {str(text)!r}"]
    common = {"sizes": sizes, "bytes": None, "overrides": overrides, "deltas": DROPPED, "seeds": 2}
    return write_study(folder, "Ablation", **(common | arguments))


def small_search(folder: Path, *overrides: str, trials: int | None = None, **arguments: Any) -> SearchPlan:
    """The plan of a search in `folder/study`."""
    path = write_study(folder, "Search", **arguments)
    return plan_search(str(path), (), overrides, trials=trials, run=folder / "study")


def search_in(folder: Path, workers: int = 1, trials: int | None = None, **arguments: Any) -> SearchPlan:
    """Search in `folder/study`, in this process and its workers."""
    plan = small_search(folder, trials=trials, **arguments)
    run_search(plan, workers)
    return plan


def watch_study(url: str, name: str) -> optuna.Study:
    """A study that others are at: nothing is made, locked or kept open."""
    storage = RDBStorage(
        url, engine_kwargs={"poolclass": NullPool}, skip_table_creation=True, skip_compatibility_check=True
    )
    return optuna.load_study(study_name=name, storage=storage)


def trials_of(plan: SearchPlan, *states: TrialState) -> list[FrozenTrial]:
    return watch_study(plan.address.url, plan.address.name).get_trials(states=states or None)


def expect_exactly(plan: SearchPlan, finished: int) -> None:
    """So many trials have finished, and nothing is left over."""
    trials = trials_of(plan)
    states = [trial.state for trial in trials]
    assert states.count(TrialState.RUNNING) == 0
    assert states.count(TrialState.WAITING) == 0
    assert states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED) == finished, states
    draws = [t.user_attrs["draw"] for t in trials if t.state is not TrialState.FAIL]
    assert sorted(draws) == list(range(finished)), "a draw was lost or made twice"


def params_by_draw(plan: SearchPlan) -> dict[int, dict[str, Any]]:
    trials = trials_of(plan, TrialState.COMPLETE, TrialState.PRUNED)
    return {trial.user_attrs["draw"]: trial.params for trial in sorted(trials, key=lambda t: t.user_attrs["draw"])}


class Command:
    """As `tests.processes.begin`, with a command line of its own, which takes as long as torch to import."""

    def __init__(self, *arguments: str | Path, under: Sequence[str] = ()) -> None:
        """Args: under: the command that starts it, such as `unshare -pf`."""
        self.process = subprocess.Popen(
            [*under, sys.executable, "-m", "rnnlab", *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def finish(self) -> tuple[int, str, str]:
        """(exit code, standard output, standard error)."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err

    def succeed(self) -> Any:
        """What it printed, which is JSON if it was asked for."""
        code, out, err = self.finish()
        assert code == 0, err
        return json.loads(out) if out.startswith("{") else out

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def wait_until(condition: Callable[[], Any]) -> Any:
    """The first answer that is true."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.05)
    raise AssertionError("it never came to that")


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def running_workers(plan: SearchPlan) -> list[tuple[FrozenTrial, int]]:
    """Trials that run, each with the process of its worker."""
    if not (plan.folder / definition.STUDY).exists():  # the study is being made, which opening it would disturb
        return []
    trials = trials_of(plan, TrialState.RUNNING)
    signed = [(trial, trial.user_attrs.get("worker", {})) for trial in trials]
    return [(trial, worker["pid"]) for trial, worker in signed if worker.get("trial") == trial.number]


def catch_worker(plan: SearchPlan, reported: int = 1) -> tuple[FrozenTrial, int]:
    """A trial that has reported so many values and goes on, and its worker, which is left stopped."""

    def attempt() -> tuple[FrozenTrial, int] | None:
        for found, worker in running_workers(plan):
            if len(found.intermediate_values) < reported:
                continue
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGSTOP)
                with suppress(optuna.exceptions.StorageInternalError):  # it was writing, and holds an sqlite database
                    trial = trials_of(plan)[found.number]
                    if trial.state is TrialState.RUNNING:
                        return trial, worker
                os.kill(worker, signal.SIGCONT)  # it was through already
        return None

    caught: tuple[FrozenTrial, int] = wait_until(attempt)
    return caught

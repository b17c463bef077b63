"""F3, F34: signals at any moment. The run ends within a step and a save, and goes on as if nothing had been."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from rnnlab.storage import checkpoint
from tests.processes import PATIENCE, Processes, expect_equal, train_arguments, wait_for_step

pytestmark = pytest.mark.faults

SOAK = bool(os.environ.get("RNNLAB_SOAK"))


@dataclass(frozen=True)
class Moment:
    """Signals that arrive just before a call, and the step the run has to end at; None for before the loop."""

    target: str
    call: int
    signals: list[str]
    step: int | None


MOMENTS = {
    "before the model": Moment("rnnlab.training.experiment:build", 1, ["SIGTERM"], None),
    "before the model, SIGINT": Moment("rnnlab.training.experiment:build", 1, ["SIGINT"], None),
    "between the folder and the loop": Moment("rnnlab.training.loop:Loop.__init__", 1, ["SIGTERM"], None),
    "between the folder and the loop, SIGINT": Moment(
        "rnnlab.views.board:BoardObserver.__enter__", 1, ["SIGINT"], None
    ),
    "before the first save": Moment("rnnlab.training.loop:Loop.save", 1, ["SIGTERM"], 0),
    "in the first step": Moment("rnnlab.training.learner:Learner.step", 1, ["SIGTERM"], 1),
    "in the first step, SIGINT": Moment("rnnlab.training.learner:Learner.step", 1, ["SIGINT"], 1),
    "in a save of the last state": Moment("rnnlab.storage.checkpoint:save", 6, ["SIGTERM"], 30),
    "in an evaluation": Moment("rnnlab.scoring.running:cross_entropy", 2, ["SIGINT"], 13),
    "in the last evaluation": Moment("rnnlab.training.loop:Loop._finish", 1, ["SIGTERM"], 30),
    "twice in a step": Moment("rnnlab.training.learner:Learner.backward", 12, ["SIGTERM", "SIGINT", "SIGTERM"], 12),
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_f3_a_signal_ends_the_run_where_it_is_whole(
    moment: Moment, processes: Processes, text: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    child = processes.train(
        run, text, faults=[{"target": moment.target, "call": moment.call, "signals": moment.signals}]
    )
    assert child.wait() == 128 + signal.Signals[moment.signals[0]], child.err
    if moment.step is None:
        assert not (run / "checkpoints").exists()
    else:
        expect_stopped(run, moment.step, child.err)
    finish(processes, run, text, whole)


def test_f3_a_second_signal_while_the_last_checkpoint_is_written_changes_nothing(
    processes: Processes, text: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    first = {"target": "rnnlab.training.learner:Learner.step", "call": 10, "signals": ["SIGINT"]}
    second = {"target": "rnnlab.storage.tensorfile:write", "call": 3, "signals": ["SIGTERM"]}  # after steps 0 and 7
    child = processes.train(run, text, faults=[first, second])
    assert child.wait() == 130, child.err
    expect_stopped(run, 10, child.err)
    finish(processes, run, text, whole)


def test_f3_a_signal_while_a_checkpoint_is_written_ends_the_run_where_it_is_whole(
    processes: Processes, text: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    fault = {"target": "rnnlab.storage.checkpoint:save", "call": 3, "signals": ["SIGTERM"]}  # of step 14, in a thread
    child = processes.train(run, text, faults=[fault])
    assert child.wait() == 143, child.err
    stopped, _ = checkpoint.newest(run / "checkpoints")
    assert stopped.step >= 14
    expect_stopped(run, stopped.step, child.err)
    finish(processes, run, text, whole)


@pytest.mark.parametrize("seed", range(100 if SOAK else 4))
def test_f3_a_signal_at_a_random_moment_ends_the_run_where_it_is_whole(
    seed: int, processes: Processes, text: Path, whole: Path, tmp_path: Path
) -> None:
    draw, run = random.Random(seed), tmp_path / "run"
    child = processes.train(run, text)
    wait_for_step(run, draw.randrange(0, 25))
    number = draw.choice([signal.SIGINT, signal.SIGTERM])
    time.sleep(draw.uniform(0.0, 0.1))
    child.signal(number)
    assert child.wait() == 128 + number, child.err
    stopped, _ = checkpoint.newest(run / "checkpoints")
    expect_stopped(run, stopped.step, child.err)
    finish(processes, run, text, whole)


@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU"])
def test_f34_a_signal_of_a_terminal_or_a_scheduler_ends_the_run_within_a_step(
    name: str, processes: Processes, text: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    fault = {"target": "rnnlab.training.learner:Learner.step", "call": 10, "signals": [name]}
    child = processes.train(run, text, faults=[fault])
    assert child.wait() == 128 + signal.Signals[name], child.err
    expect_stopped(run, 10, child.err)
    finish(processes, run, text, whole)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="Linux limits a process that runs")
def test_f34_the_limit_on_cpu_time_ends_the_run_within_a_step(processes: Processes, text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    child = processes.train(run, text, "Trainer.steps = 1000000", "Trainer.log_every = 1", "Trainer.save_every = 1000")
    wait_for_step(run, 3)
    resource.prlimit(child.pid, resource.RLIMIT_CPU, (1, resource.RLIM_INFINITY))
    # beyond the limit the signal comes every second, so perhaps once more while Python ends
    assert child.wait() in (128 + signal.SIGXCPU, -signal.SIGXCPU), child.err
    expect_stopped(run, checkpoint.newest(run / "checkpoints")[0].step, child.err)


def test_f34_a_run_under_nohup_outlives_the_terminal(text: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ["nohup", sys.executable, "-m", "rnnlab", *train_arguments(run, text)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as child:
        wait_for_step(run, 3)
        child.send_signal(signal.SIGHUP)
        assert child.wait(PATIENCE) == 0
    expect_equal(run, whole)


@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1"])
def test_f34_a_signal_ends_an_evaluation_at_once(name: str, processes: Processes, whole: Path) -> None:
    fault = {"target": "rnnlab.scoring.running:cross_entropy", "call": 2, "signals": [name]}
    child = processes.start("eval", str(whole), faults=[fault])
    assert child.wait() == 128 + signal.Signals[name], child.err
    assert child.out == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_f3_a_signal_ends_generation_at_once_and_keeps_what_was_written(
    number: signal.Signals, processes: Processes, whole: Path
) -> None:
    fault = {"target": "rnnlab.generation:choose", "call": 6, "signals": [number.name]}
    child = processes.start("generate", str(whole), "--bytes", "100000", faults=[fault])
    assert child.wait() == 128 + number
    assert len(child.output.with_suffix(".out").read_bytes()) == 5
    assert "Traceback" not in child.err


def expect_stopped(run: Path, step: int, err: str) -> None:
    """The state of that very step is saved, the result says so, and one line says how to go on."""
    snapshot, damage = checkpoint.newest(run / "checkpoints")
    assert (snapshot.step, damage) == (step, [])
    result = json.loads((run / "result.json").read_text())
    assert (result["status"], result["steps"]) == ("stopped", step)
    assert err.strip().splitlines()[-1].endswith(f" at step {step}; `rnnlab resume {run}` goes on")
    assert "Traceback" not in err


def finish(processes: Processes, run: Path, text: Path, whole: Path) -> None:
    child = processes.resume(run) if (run / "config.gin").exists() else processes.train(run, text)
    assert child.wait() == 0, child.err
    expect_equal(run, whole)

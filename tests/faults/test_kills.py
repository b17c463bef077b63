"""F1, F18: trainers that are killed, and trainers that want one run."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rnnlab.storage import checkpoint, metrics
from tests.processes import PATIENCE, Child, Processes, expect_equal, wait_for_step

pytestmark = pytest.mark.faults

SOAK = bool(os.environ.get("RNNLAB_SOAK"))
SAVE_EVERY = 7  # [steps] of the tiny runs


def begin(processes: Processes, run: Path, text: Path) -> Child:
    return processes.resume(run) if (run / "config.gin").exists() else processes.train(run, text)


def expect_nothing_lost(run: Path) -> None:
    """Of what the journal says was done, at most `save_every` steps have to be done again, and those that were trained
    while the last checkpoint was being written: as many at most, since the next one waits for it."""
    if not (run / "config.gin").exists():
        return
    done = [record["step"] for record in metrics.read(run / "metrics.jsonl") if record["kind"] == "train"]
    if max(done, default=0) > SAVE_EVERY:
        snapshot, damage = checkpoint.newest(run / "checkpoints")
        assert damage == []
        assert max(done) - snapshot.step <= 2 * SAVE_EVERY


@pytest.mark.parametrize("seed", range(20 if SOAK else 2))
def test_f1_a_run_killed_at_random_moments_ends_like_one_that_was_left_alone(
    seed: int,
    processes: Processes,
    text: Path,
    whole: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    draw, run, kills = random.Random(seed), tmp_path / "run-0", 0
    while kills < (10 if SOAK else 5):
        child = begin(processes, run, text)
        time.sleep(draw.uniform(0.0, 1.0))
        if child.kill() == -signal.SIGKILL:
            kills += 1
            expect_nothing_lost(run)
        else:  # it was through before the kill came
            expect_equal(run, whole)
            run = run.with_name(f"run-{kills}")
    last = begin(processes, run, text)
    assert last.wait() == 0, last.err
    expect_equal(run, whole)
    record_property("tries", kills)


def test_f18_a_second_trainer_is_turned_away_until_the_first_is_killed(
    processes: Processes, text: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    first = processes.train(
        run, text, faults=[{"target": "rnnlab.training.learner:Learner.step", "call": 9, "signals": ["SIGSTOP"]}]
    )
    wait_for_step(run, 8)
    started = time.monotonic()
    second = processes.resume(run)
    assert second.wait() == 6
    assert time.monotonic() - started < PATIENCE / 4
    assert f"held by process {first.pid} " in second.err
    assert processes.train(run, text).wait() == 6
    first.kill()
    third = processes.resume(run)
    assert third.wait() == 0, third.err
    expect_equal(run, whole)
    assert processes.train(run, text).wait() == 2, "there is a run already"

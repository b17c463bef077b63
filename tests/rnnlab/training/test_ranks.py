"""Several processes on one run, started by torchrun: the same numbers, one voice, one end."""

import functools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from rnnlab import api
from rnnlab.data.corpora import open_corpus
from rnnlab.errors import ConfigError
from rnnlab.evaluation import evaluate
from rnnlab.model import LanguageModel
from rnnlab.storage import checkpoint, metrics
from rnnlab.storage.runfolder import RunFolder
from rnnlab.testing import rounding
from rnnlab.training import experiment
from rnnlab.training.learner import Learner
from rnnlab.training.ranks import ALONE, ranks
from tests.rnnlab import small_tasks
from tests.rnnlab.tiny_runs import FRAGMENTS, bindings, build, journal, losses, train

STEPS = 50
MORE = [
    f"Trainer.steps = {STEPS}", "Trainer.save_every = 10", "Trainer.optimizer = @optimizer.Lamb", "Lamb.lr = 4e-3",
    "Trainer.unseen_logit = -10.0",
]  # fmt: skip
"""An optimizer that computes in fp32: rounding to bf16 inside one makes a difference of 1e-7 one of 1e-3."""

PATIENCE = 200.0  # [s]


@pytest.fixture(scope="module")
def alone(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process with all the sequences."""
    run = tmp_path_factory.mktemp("alone") / "run"
    train(run, text, *MORE)
    return run


@pytest.fixture(scope="module")
def shared(text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Two processes with half of the sequences each; and what they said."""
    run = tmp_path_factory.mktemp("shared") / "run"
    done = finish(torchrun(2, *train_arguments(run, text)))
    assert done.code == 0, done.err
    return run, done.out, done.err


class Done:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


def train_arguments(run: Path, text: Path, *more: str) -> list[str]:
    sets = [part for binding in bindings(text, *MORE, *more) for part in ("--set", binding)]
    return ["train", *FRAGMENTS, *sets, "--run", str(run)]


def torchrun(ranks: int, *arguments: str) -> subprocess.Popen[str]:
    return start(*command(ranks, *arguments))


def command(ranks: int, *arguments: str) -> list[str]:
    """The arguments stand after `--`, or torchrun takes `--run` for one of its own."""
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(ranks),
        "-m",
        "--",
    ]
    return [*launcher, "rnnlab", *arguments]


def start(*command: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(list(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process: subprocess.Popen[str]) -> Done:
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Done(process.returncode, out, err)


def wait_for_step(run: Path, step: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if any(record["step"] >= step for record in metrics.read(run / "metrics.jsonl")):
            return
        time.sleep(0.02)
    raise AssertionError(f"{run} never came to step {step}")


def tensors(run: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoint.newest(run / "checkpoints")[0].tensors)


@functools.cache
def in_float64(alone: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Losses and tensors at the end of the same run in float64."""
    built = experiment.build(RunFolder.open(alone).config())
    built.model.double()
    learner = Learner(built)
    found = {}
    while learner.fraction() < 1.0:
        record = learner.step()
        found[str(record["step"])] = torch.tensor(record["loss"], dtype=torch.float64)
    return found, dict(learner.snapshot().tensors)


def score_of(model: LanguageModel, text: Path) -> torch.Tensor:
    return torch.tensor(evaluate(model, open_corpus(str(text)).test).bpc, dtype=torch.float64)


def expect_close(run: Path, alone: Path) -> None:
    """Every loss, parameter, state and moment of the optimizer is as near to float64 as one process is."""
    wanted, end = in_float64(alone)
    assert len(wanted) == STEPS
    seen, others = (torch.tensor([losses(path)[int(step)] for step in wanted]) for path in (run, alone))
    rounding.check_no_worse(seen, than=others, exact=torch.stack(list(wanted.values())))
    rounding.check_no_worse(tensors(run), than=tensors(alone), exact=end)


@pytest.mark.slow
@pytest.mark.faults
def test_two_ranks_go_through_the_numbers_of_one_process(shared: tuple[Path, str, str], alone: Path) -> None:
    expect_close(shared[0], alone)


@pytest.mark.slow
@pytest.mark.faults
def test_ranks_evaluate_write_and_speak_once(shared: tuple[Path, str, str], alone: Path, text: Path) -> None:
    run, out, err = shared
    places = [(record["kind"], record["step"], record["bytes"]) for record in journal(run)]
    assert places == [(record["kind"], record["step"], record["bytes"]) for record in journal(alone)]
    assert out.count("valid ") == 1
    assert "rnnlab" not in err
    result = json.loads((run / "result.json").read_text())
    assert (result["ranks"], result["status"]) == (2, "done")
    again, exact = score_of(api.load(run).model, text), score_of(api.load(run).model.double(), text)
    seen = torch.tensor(result["test_bpc"], dtype=torch.float32)
    rounding.check_no_worse(seen, than=again.float(), exact=exact)


@pytest.mark.slow
@pytest.mark.faults
def test_ranks_save_by_the_clock_of_the_first_and_all_hear_of_a_save_that_failed(
    text: Path, alone: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    by_the_clock = ("Trainer.save_every = None", "Trainer.save_seconds = 1e-6", "Trainer.keep = 99")
    done = finish(torchrun(2, *train_arguments(run, text, *by_the_clock)))
    assert done.code == 0, done.err
    assert sorted(checkpoint.load(path).step for path in (run / "checkpoints").iterdir()) == list(range(STEPS + 1))
    expect_close(run, alone)
    again = tmp_path / "again"
    limited = f"ulimit -f 80; exec {shlex.join(command(2, *train_arguments(again, text, *by_the_clock)))}"
    failed = finish(start("bash", "-c", limited))
    assert failed.code != 0
    assert failed.err.count("going on, the checkpoint before is whole") == 1
    assert failed.err.count("rnnlab: error: ") == 1
    assert "step-00000003: cannot be saved" in failed.err


@pytest.mark.slow
@pytest.mark.faults
def test_a_signal_to_torchrun_stops_all_ranks_at_one_step_and_one_process_goes_on(
    text: Path, alone: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = torchrun(2, *train_arguments(run, text))
    wait_for_step(run, 12)
    process.send_signal(signal.SIGTERM)
    expect_stopped(finish(process), run)
    api.resume(run)
    expect_close(run, alone)


@pytest.mark.slow
@pytest.mark.faults
def test_a_signal_to_one_rank_stops_all_at_one_step_and_four_ranks_go_on(
    text: Path, alone: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = torchrun(2, *train_arguments(run, text))
    wait_for_step(run, 12)
    os.kill(second_rank(process), signal.SIGTERM)
    expect_stopped(finish(process), run)
    on_four = finish(torchrun(4, "resume", str(run)))
    assert on_four.code == 0, on_four.err
    expect_close(run, alone)


def expect_stopped(done: Done, run: Path) -> None:
    assert done.code != 0
    assert done.err.count("rnnlab: stopped by SIGTERM at step ") == 1
    result = json.loads((run / "result.json").read_text())
    snapshot, damage = checkpoint.newest(run / "checkpoints")
    assert (result["status"], result["steps"], damage) == ("stopped", snapshot.step, [])
    assert 12 <= snapshot.step < STEPS


@pytest.mark.slow
@pytest.mark.faults
def test_a_rank_that_dies_takes_the_run_down_and_its_checkpoint_goes_on(
    text: Path, alone: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = torchrun(2, *train_arguments(run, text))
    wait_for_step(run, 12)
    os.kill(second_rank(process), signal.SIGKILL)
    died = time.monotonic()
    done = finish(process)
    assert time.monotonic() - died < 30.0
    assert done.code != 0
    assert "rnnlab: error: rank 0 lost another rank of the run" in done.err
    saved, damage = checkpoint.newest(run / "checkpoints")
    assert (saved.step >= 10, damage) == (True, [])
    api.resume(run)
    expect_close(run, alone)


def second_rank(process: subprocess.Popen[str]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return next(int(child) for child in children if environment_of(int(child)).get("RANK") == "1")


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


@pytest.mark.slow
@pytest.mark.faults
def test_sequences_that_cannot_be_shared_evenly_are_refused_before_there_is_a_folder(
    text: Path, tmp_path: Path
) -> None:
    done = finish(torchrun(3, *train_arguments(tmp_path / "run", text)))
    assert done.code != 0
    assert done.err.count("rnnlab: error: 4 sequences cannot be shared evenly by 3 ranks") == 1
    assert not (tmp_path / "run").exists()


def test_a_card_by_its_number_is_refused_where_each_rank_takes_one(text: Path) -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with pytest.raises(ConfigError, match=r"Trainer.device = 'cuda:1': of several ranks .* use 'cuda'"):
            build(text, "Trainer.device = 'cuda:1'")
    finally:
        dist.destroy_process_group()


def test_an_environment_whose_rank_is_no_number_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "first")
    with pytest.raises(ConfigError, match=r"LOCAL_RANK='first' is not what torchrun sets.*unset WORLD_SIZE"), ranks():
        pytest.fail("it joined")


def test_one_process_alone_talks_to_nobody() -> None:
    x: Any = torch.tensor(3.0)
    assert ALONE.first
    assert ALONE.mean(x) is x
    assert ALONE.gather_batch(x) is x
    assert ALONE.any(True)
    assert not ALONE.any(False)
    assert ALONE.largest(0, 15, True) == [0, 15, 1]
    assert ALONE.broadcast_from_rank0(lambda: "answer") == "answer"


LEAVING = """
import atexit, sys
from rnnlab.training.ranks import leave

class Late:
    def __del__(self):
        print("taken apart", flush=True)

late = Late()
atexit.register(print, "at exit")
print("said", end=" ")
leave(7)
"""


@pytest.mark.long
def test_a_rank_leaves_with_its_code_and_its_words_but_does_not_take_python_apart() -> None:
    left = subprocess.run([sys.executable, "-c", LEAVING], stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
    assert (left.returncode, left.stdout) == (7, "said at exit\n")


@pytest.mark.slow
@pytest.mark.faults
def test_two_ranks_share_the_examples_of_a_task(tmp_path: Path) -> None:
    """Answers that one rank has more of weigh as they do in one process: pairs of 3 and 4, asked at their end alone."""
    task = ["Trainer.source = @task.Recall", "Recall.pairs = [3, 4]", "Recall.test = [4]", "Trainer.accumulate = 2"]
    small_tasks.train(tmp_path / "alone", *task)
    sets = [part for binding in small_tasks.bindings(*task) for part in ("--set", binding)]
    done = finish(torchrun(2, "train", *FRAGMENTS, *sets, "--run", str(tmp_path / "shared")))
    assert done.code == 0, done.err
    alone, shared = (journal(tmp_path / name) for name in ("alone", "shared"))
    assert [(one["kind"], one["step"], one["bytes"]) for one in alone] == [
        (one["kind"], one["step"], one["bytes"]) for one in shared
    ]
    for want, got in zip(alone, shared, strict=True):
        if want["kind"] == "train" and want["step"] <= 5:  # before roundings have grown
            assert got["loss"] == pytest.approx(want["loss"], rel=1e-4)
            assert got["accuracy"] == pytest.approx(want["accuracy"], abs=1e-5)
    result = json.loads((tmp_path / "shared" / "result.json").read_text())
    assert (result["ranks"], result["protocol"]["examples"]) == (2, 24)

"""When a checkpoint is due, what it holds, and that training goes on while it is written."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnlab import api
from rnnlab.errors import ConfigError
from rnnlab.storage import checkpoint, metrics, tensorfile
from rnnlab.training.loop import Loop
from rnnlab.training.saving import HostCopy
from rnnlab.views.board import CHARTS, scalars
from tests.rnnlab.tiny_runs import build, journal, new_loop, state_hash, train

KEEP_ALL = "Trainer.keep = 99"
BY_THE_CLOCK = ("Trainer.save_every = None", KEEP_ALL)


def saved_steps(run: Path) -> list[int]:
    return sorted(checkpoint.load(path).step for path in (run / "checkpoints").glob("step-*"))


def run_observed(loop: Loop, observe: Callable[[dict[str, Any]], None]) -> None:
    loop.observers = [observe]
    with loop.folder.hold():
        loop.run()


@pytest.mark.parametrize(
    ("bindings", "seconds"),
    [
        (("save_every = None",), 300.0),
        (("save_every = 7",), None),
        (("save_every = 7", "save_seconds = 2.5"), 2.5),
        (("save_every = None", "save_seconds = 60.0"), 60.0),
    ],
)
def test_the_clock_counts_where_it_or_nothing_is_bound(
    bindings: tuple[str, ...], seconds: float | None, text: Path
) -> None:
    built = build(text, *(f"Trainer.{line}" for line in bindings))
    assert built.trainer.seconds_between_saves() == seconds


@pytest.mark.parametrize("binding", ["save_every = 0", "save_seconds = 0.0", "save_seconds = -1.0"])
def test_a_distance_between_saves_that_is_none_is_refused(binding: str, text: Path) -> None:
    with pytest.raises(ConfigError, match=rf"Trainer.{binding}: more than 0, or None"):
        build(text, f"Trainer.{binding}")


def test_a_short_run_is_saved_at_its_beginning_and_its_end_by_default(text: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", text, *BY_THE_CLOCK)
    assert saved_steps(tmp_path / "run") == [0, 30]


@pytest.mark.slow
def test_steps_alone_decide_where_they_are_bound(text: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", text, KEEP_ALL)
    assert saved_steps(tmp_path / "run") == [0, 7, 14, 21, 28, 30]


@pytest.mark.slow
def test_a_checkpoint_is_due_when_its_seconds_have_passed(text: Path, whole: Path, tmp_path: Path) -> None:
    loop = new_loop(tmp_path / "run", text, *BY_THE_CLOCK, "Trainer.save_seconds = 1000.0")

    def let_time_pass(record: dict[str, Any]) -> None:
        if record["kind"] == "train" and record["step"] in (10, 20):
            loop.saver._last -= 1001.0

    run_observed(loop, let_time_pass)
    assert saved_steps(tmp_path / "run") == [0, 11, 21, 30]
    assert state_hash(tmp_path / "run") == state_hash(whole)
    assert journal(tmp_path / "run") == journal(whole)


@pytest.mark.slow
def test_resuming_may_change_the_distance_between_saves(text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(run, text, KEEP_ALL, "Trainer.steps = 10", "Trainer.schedule = @schedule.Constant")
    api.resume(run, ["Trainer.steps = 14", "Trainer.save_every = None", "Trainer.save_seconds = 1e-9"])
    assert saved_steps(run) == [0, 7, 10, 11, 12, 13, 14]


@pytest.mark.slow
def test_training_goes_on_while_a_checkpoint_is_written_and_the_next_one_waits_for_it(
    text: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = threading.Event()
    order = list[object]()
    real = tensorfile.write

    def write(path: Path, tensors: Any) -> Any:
        if "step-00000007" in str(path):
            assert seen.wait(20.0), "training waits for the disk"
            time.sleep(0.2)
        answer = real(path, tensors)
        order.append(path.parent.name)
        return answer

    def observe(record: dict[str, Any]) -> None:
        if record["kind"] == "train":
            order.append(record["step"])
        if record["kind"] == "train" and record["step"] == 14:
            seen.set()

    monkeypatch.setattr(tensorfile, "write", write)
    loop = new_loop(tmp_path / "run", text, KEEP_ALL)
    run_observed(loop, observe)
    assert order.index(14) < order.index(".tmp-step-00000007") < order.index(15)
    assert state_hash(tmp_path / "run") == state_hash(whole)
    assert loop.learner.progress.seconds_saving >= 0.2


@pytest.mark.slow
def test_a_checkpoint_holds_the_state_of_its_step_whatever_was_trained_while_it_was_written(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "quick", text, KEEP_ALL)
    real = tensorfile.write

    def write(path: Path, tensors: Any) -> Any:
        time.sleep(0.1)  # several steps
        return real(path, tensors)

    monkeypatch.setattr(tensorfile, "write", write)
    train(tmp_path / "slow", text, KEEP_ALL)
    for step in saved_steps(tmp_path / "quick"):
        states = [tmp_path / name / f"checkpoints/step-{step:08d}/state.safetensors" for name in ("quick", "slow")]
        assert states[0].read_bytes() == states[1].read_bytes(), step


@pytest.mark.slow
def test_a_checkpoint_that_could_not_be_written_is_told_at_the_next_step(
    text: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = new_loop(tmp_path / "run", text, KEEP_ALL)
    told = {}

    def observe(record: dict[str, Any]) -> None:
        if record["kind"] == "train" and record["step"] == 7:
            (tmp_path / "run" / "checkpoints" / ".tmp-step-00000007").write_text("in the way")
        if record["kind"] == "train" and record["step"] == 8:
            thread = loop.folder.writer._thread
            if thread is not None:  # or the writer was as quick as the step
                thread.join(20.0)
        told[record["step"]] = capsys.readouterr().err

    run_observed(loop, observe)
    words = told[8] + told[9]
    assert "step-00000007: cannot be saved" in words
    assert "going on, the checkpoint before is whole" in words
    assert "".join(told.values()).count("cannot be saved") == 1
    assert saved_steps(tmp_path / "run") == [0, 14, 21, 28, 30]
    assert journal(tmp_path / "run") == journal(whole)


@pytest.mark.long
def test_the_time_that_training_waits_is_told_in_the_result_the_journal_and_on_the_board(
    text: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    result = train(run, text)
    assert 0.0 < result["seconds_saving"] < 60.0
    assert json.loads((run / "result.json").read_text())["seconds_saving"] == result["seconds_saving"]
    valid = [record for record in metrics.read(run / "metrics.jsonl") if record["kind"] == "valid"]
    assert len(valid) > 1
    for name in ("seconds_saving", "seconds_evaluating"):
        times = [record[name] for record in valid]
        assert times == sorted(times)
        assert 0.0 < times[0] <= times[-1] <= result[name]
        assert scalars(valid[-1])[f"machine/{name}"] == times[-1]
        assert f"machine/{name}" in CHARTS["Machine"]["Training waited [s]"]


@pytest.mark.long
def test_the_time_is_carried_over_a_resumption(text: Path, tmp_path: Path) -> None:
    often = ["Trainer.save_every = 1", "Trainer.eval_every = 200", "Trainer.schedule = @schedule.Constant"]
    train(tmp_path / "run", text, "Trainer.steps = 20", *often)
    longer = api.resume(tmp_path / "run", ["Trainer.steps = 30", "Trainer.save_every = 1000"])
    records = [record for record in metrics.read(tmp_path / "run" / "metrics.jsonl") if record["kind"] == "valid"]
    assert {record["step"] > 20 for record in records} == {True, False}
    times = [record["seconds_saving"] for record in records]
    assert times == sorted(times)
    assert longer["seconds_saving"] >= times[-1] > 0.0


def sample(device: str = "cpu") -> dict[str, torch.Tensor]:
    matrix = torch.randn(3, 5, device=device)
    return {
        "matrix": matrix.requires_grad_(),
        "turned": matrix.T,
        "half": matrix.to(torch.bfloat16),
        "count": torch.tensor(7),
        "none": torch.zeros(0, 4, device=device),
    }


def test_a_copy_stays_as_it_was_and_its_memory_is_used_again() -> None:
    copy, tensors = HostCopy(), sample()
    wanted = {name: x.detach().clone() for name, x in tensors.items()}
    taken = copy.take(tensors)
    places = {name: x.data_ptr() for name, x in taken.items()}
    for x in tensors.values():
        x.detach().zero_()
    torch.testing.assert_close(taken, wanted, rtol=0.0, atol=0.0)
    again = copy.take({**tensors, "matrix": torch.ones(4, 5)})
    assert {name for name, x in again.items() if x.data_ptr() == places[name] and x.numel()} == {
        "turned",
        "half",
        "count",
    }
    assert torch.equal(again["matrix"], torch.ones(4, 5))
    assert set(copy.take({"count": torch.tensor(8)})) == {"count"}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_copy_of_what_is_on_a_gpu_is_in_pinned_memory_and_complete() -> None:
    copy, tensors = HostCopy(), {**sample("cuda"), "large": torch.randn(4096, 4096, device="cuda")}
    for _ in range(3):
        tensors["large"].mul_(2.0)
        taken = copy.take(tensors)
        torch.testing.assert_close(taken["large"], tensors["large"].cpu(), rtol=0.0, atol=0.0)
        assert taken["large"].is_pinned()
        assert not taken["count"].is_pinned()

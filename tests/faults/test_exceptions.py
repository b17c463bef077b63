"""F23: an exception at each of 20 points of a run. What was raised surfaces, the lock is free, the files are whole."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from rnnlab import api
from rnnlab.storage import checkpoint, metrics
from rnnlab.storage.runfolder import RunFolder
from tests.rnnlab.tiny_runs import journal, state_hash, train

pytestmark = pytest.mark.faults


class Unforeseen(Exception):
    """Nothing that rnnlab knows of."""


POINTS = [
    # function, the call at which it raises, whether before or after its work
    ("rnnlab.training.loop:Loop.__init__", 1, "after"),
    ("rnnlab.views.board:BoardObserver.__enter__", 1, "before"),
    ("rnnlab.storage.runfolder:RunFolder.discard_result", 1, "after"),
    ("rnnlab.training.loop:Loop._look_around", 5, "before"),
    ("rnnlab.training.learner:Learner.chunks", 5, "before"),
    ("rnnlab.data.splits:Batches.chunk", 12, "before"),
    ("rnnlab.model:LanguageModel.forward", 12, "after"),
    ("rnnlab.training.learner:cross_entropy", 5, "after"),
    ("torch:Tensor.backward", 9, "before"),
    ("rnnlab.training.learner:norms_by_part", 5, "before"),
    ("rnnlab.training.learner:clip_gradients", 5, "after"),
    ("torch.amp:GradScaler.step", 9, "before"),
    ("torch.amp:GradScaler.step", 9, "after"),
    ("rnnlab.training.learner:peak_memory_mb", 9, "before"),
    ("rnnlab.storage.metrics:Journal.append", 9, "after"),
    ("rnnlab.views.board:BoardObserver.__call__", 9, "after"),
    ("rnnlab.scoring.running:cross_entropy", 3, "before"),
    ("rnnlab.training.learner:Learner.snapshot", 3, "after"),
    ("rnnlab.storage.tensorfile:write", 3, "after"),
    ("rnnlab.storage.checkpoint:_publish", 3, "before"),
    ("rnnlab.storage.checkpoint:_publish", 3, "after"),
    ("rnnlab.storage.checkpoint:_prune", 3, "before"),
    ("rnnlab.training.loop:Loop._summary", 1, "before"),
    ("rnnlab.storage.runfolder:RunFolder.write_result", 1, "before"),
    ("rnnlab.training.loop:ProgressBar.__exit__", 1, "after"),
    ("rnnlab.views.board:BoardObserver.__exit__", 1, "after"),
]


def explode(patch: pytest.MonkeyPatch, target: str, call: int, when: str, error: BaseException) -> None:
    module, _, path = target.partition(":")
    owner: Any = importlib.import_module(module)
    *owners, name = path.split(".")
    for step in owners:
        owner = getattr(owner, step)
    real, calls = getattr(owner, name), 0

    def faulty(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            raise error
        answer = real(*arguments, **keywords)
        if calls == call:
            raise error
        return answer

    patch.setattr(owner, name, faulty)


@pytest.mark.parametrize(("target", "call", "when"), POINTS)
def test_f23_an_exception_surfaces_and_leaves_a_run_that_goes_on(
    target: str, call: int, when: str, text: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        explode(patch, target, call, when, Unforeseen("at this point"))
        with pytest.raises(Unforeseen, match="at this point"):
            train(run, text)
    metrics.read(run / "metrics.jsonl")
    assert not list(run.rglob(".tmp-*"))
    for path in (run / "checkpoints").glob("*"):
        checkpoint.load(path)
    with RunFolder.open(run).hold():
        pass
    api.resume(run)
    assert state_hash(run) == state_hash(whole)
    assert journal(run) == journal(whole)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), OSError(28, "no space left")])
def test_f23_what_is_no_ordinary_exception_surfaces_too(
    error: BaseException, text: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        explode(patch, "rnnlab.training.learner:Learner.step", 12, "before", error)
        with pytest.raises(type(error)):
            train(run, text)
    api.resume(run)
    assert state_hash(run) == state_hash(whole)

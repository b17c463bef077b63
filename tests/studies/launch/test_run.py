"""One run of a study: continued, or taken over from the folder of a worker that died."""

import math
import signal
from pathlib import Path
from typing import Any

import pytest

from rnnlab.errors import ConfigError, DataError, Diverged, RunHeldError, Stopped
from rnnlab.storage.metrics import Record
from rnnlab.storage.runfolder import RunFolder
from rnnlab.studies.launch.run import finished, train_run
from rnnlab.studies.metric import score
from rnnlab.training.loop import Loop, Observer
from tests.rnnlab.tiny_runs import build, journal, losses, state_hash

SHORT = ("Trainer.steps = 16", "Trainer.save_every = 5", "Trainer.eval_every = 400")


@pytest.fixture(scope="module")
def whole(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train_run(build(text, *SHORT), run)
    return run


def stop_at(step: int) -> Any:
    def watch(loop: Loop) -> Observer:
        def observe(record: Record) -> None:
            if record["step"] == step:
                raise Stopped(signal.SIGTERM)

        return observe

    return watch


@pytest.mark.slow
def test_a_run_that_was_stopped_is_gone_on_with_as_if_nothing_had_been(text: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Stopped):
        train_run(build(text, *SHORT), run, stop_at(9))
    assert finished(run) is None
    result = train_run(build(text, *SHORT), run)
    assert result["status"] == "done"
    assert state_hash(run) == state_hash(whole)
    assert journal(run) == journal(whole)


@pytest.mark.long
def test_a_run_is_taken_over_from_the_newest_folder_of_the_same_experiment_that_has_anything(
    text: Path, whole: Path, tmp_path: Path
) -> None:
    older, newer, empty, other = (tmp_path / name for name in ("older", "newer", "empty", "other"))
    for path, step in ((older, 4), (newer, 9)):
        with pytest.raises(Stopped):
            train_run(build(text, *SHORT), path, stop_at(step))
    with pytest.raises(Stopped):
        train_run(build(text, *SHORT, "dropout = 0.3"), other, stop_at(12))
    RunFolder.create(empty, (newer / "config.gin").read_text(), "", {"corpus_sha": ""})
    before = state_hash(newer)
    began: list[int] = []

    def watch(loop: Loop) -> Observer:
        began.append(loop.learner.progress.step)
        return lambda record: None

    run = tmp_path / "run"
    train_run(build(text, *SHORT), run, watch, [empty, other, tmp_path / "none", newer, older])
    assert began == [9]
    assert state_hash(run) == state_hash(whole)
    assert losses(run) == losses(whole)
    assert journal(run) == journal(whole)
    assert state_hash(newer) == before, "the folder that was taken over from belongs to its worker"


def test_a_result_is_taken_over_without_training(text: Path, whole: Path, tmp_path: Path) -> None:
    def watch(loop: Loop) -> Observer:
        raise AssertionError("nothing is left to train")

    for _ in range(2):  # the second time it is there already
        result = train_run(build(text, *SHORT), tmp_path / "run", watch, [whole])
        assert result == finished(whole)


@pytest.mark.slow
def test_a_run_that_died_before_its_first_save_begins_anew(text: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    built = build(text, *SHORT)
    assert built.source is not None
    folder = RunFolder.create(run, built.config.text, built.operative, {"corpus_sha": built.source.sha256})
    folder.journal.append({"kind": "train", "step": 1})
    folder.journal.close()
    train_run(built, run)
    assert journal(run) == journal(whole)


def test_a_run_that_diverged_is_a_result(text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Diverged):
        train_run(build(text, *SHORT, "LanguageModel.init_std = 1e30"), run)
    found = finished(run)
    assert found is not None
    assert found["status"] == "diverged"
    assert math.isnan(score({**found, "valid_bpc": 2.7}, "valid_bpc")), "also where it was evaluated before"


def test_the_folder_of_another_run_is_left_alone(text: Path, whole: Path) -> None:
    before = journal(whole)
    with pytest.raises(ConfigError, match="holds another run than this study puts there"):
        train_run(build(text, *SHORT, "dropout = 0.3"), whole)
    with RunFolder.open(whole).hold(), pytest.raises(RunHeldError):
        train_run(build(text, *SHORT), whole)
    assert journal(whole) == before


def test_a_run_does_not_go_on_with_another_text(text: Path, tmp_path: Path) -> None:
    copy = tmp_path / "text"
    copy.write_bytes(text.read_bytes())
    with pytest.raises(Stopped):
        train_run(build(copy, *SHORT), tmp_path / "run", stop_at(4))
    copy.write_bytes(text.read_bytes()[::-1])
    with pytest.raises(DataError, match="not what the run trained on"):
        train_run(build(copy, *SHORT), tmp_path / "run")

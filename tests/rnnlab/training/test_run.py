"""The beginning of a run: drawn from its seed, or taken over from another run."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from rnnlab import api, cli
from rnnlab.errors import ConfigError
from rnnlab.storage import checkpoint
from rnnlab.storage.runfolder import RunFolder
from rnnlab.training import run as life
from tests.rnnlab.tiny_runs import FRAGMENTS, bindings, build, losses, train

KEPT = ("Trainer.steps = 4", "Trainer.keep = 9", "Trainer.save_every = 2", "Trainer.seed = 7")


@pytest.fixture(scope="module")
def other(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of another seed, trained."""
    run = tmp_path_factory.mktemp("other") / "run"
    train(run, text)
    return run


def weights(run: Path, step: int | None = None) -> dict[str, Tensor]:
    return dict(RunFolder.open(run).newest(step).section("model"))


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a.keys() | b.keys())


@pytest.mark.long
def test_a_run_may_start_from_the_weights_of_another(
    text: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.chdir(other.parent)
    api.train(FRAGMENTS, bindings(text, *KEPT), run=run, init=other.name)
    assert same(weights(run, 0), weights(other))
    assert losses(run)[1] < losses(other)[1], "it knows already what the other has learned"
    assert RunFolder.open(run).environment["init"] == str(other)
    train(tmp_path / "drawn", text, *KEPT)
    assert not same(weights(tmp_path / "drawn", 0), weights(other))


@pytest.mark.slow
def test_a_run_that_died_before_its_first_save_starts_there_again(text: Path, other: Path, tmp_path: Path) -> None:
    whole, dead = tmp_path / "whole", tmp_path / "dead"
    api.train(FRAGMENTS, bindings(text, *KEPT), run=whole, init=other)
    life.create(dead, build(text, *KEPT), init=str(other))
    assert not RunFolder.open(dead).has_checkpoints()
    api.resume(dead)
    assert losses(dead) == losses(whole)


@pytest.mark.slow
def test_a_model_that_differs_is_refused_by_the_name_of_a_tensor_and_leaves_no_folder(
    text: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wider = [*bindings(text, *KEPT, "LanguageModel.dim = 16")]
    with pytest.raises(ConfigError, match=r"--init .*: blocks\.0\.\S+ is \(\d+.*\) in that run and \(\d+.*\) in this"):
        api.train(FRAGMENTS, wider, run=tmp_path / "run", init=other)
    assert not (tmp_path / "run").exists()
    sets = [part for binding in bindings(text, *KEPT) for part in ("--set", binding)]
    assert cli.main(["train", *FRAGMENTS, "core/gru", *sets, "--init", str(other), "--run", str(tmp_path / "gru")]) == 2
    assert "not there" in capsys.readouterr().err
    assert checkpoint.newest(other / "checkpoints")[0].step > 0, "the other run is as it was"


@pytest.mark.slow
def test_runs_that_begin_in_one_second_get_folders_of_their_own(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "20260101-000000")
    made = [api.train(FRAGMENTS, bindings(text, "Trainer.steps = 1"))["run"] for _ in range(3)]
    assert made == [f"runs/sha_rnn-tiny-20260101-000000{end}" for end in ("", "-2", "-3")]


def test_a_run_in_no_folder_is_refused(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="name a folder"):
        api.train(FRAGMENTS, bindings(text), run="")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_a_budget_that_is_used_up_is_told_to_who_prolongs_the_run(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    constant = ("Trainer.schedule = @schedule.Constant", "Trainer.epochs = 1", "Trainer.steps = None",
                "Trainer.eval_every = 9000", "Trainer.save_every = 50")  # fmt: skip
    first = api.train(FRAGMENTS, bindings(text, *constant), run=run)
    assert api.resume(run, f"Trainer.bytes = {first['bytes_trained']}")["steps"] == first["steps"]
    assert "is at the end of its budget (bytes " in capsys.readouterr().err
    assert api.resume(run, f"Trainer.bytes = {2 * first['bytes_trained']}")["steps"] > first["steps"]
    assert api.resume(run, "Trainer.epochs = 3")["bytes_trained"] == 3 * first["bytes_trained"], (
        "the last budget counts"
    )
    assert (run / "resumed.gin").read_text() == "Trainer.epochs = 3\n"


def test_a_relative_place_is_remembered_as_it_was_meant(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.train(FRAGMENTS, bindings(text, "Trainer.steps = 2"), run=tmp_path / "run")
    (tmp_path / "there").mkdir()
    (tmp_path / "there/copy").write_bytes(text.read_bytes())
    monkeypatch.chdir(tmp_path / "there")
    api.resume(tmp_path / "run", ["File.path = 'copy'"])
    monkeypatch.chdir(tmp_path)
    assert api.resume("run")["status"] == "done"

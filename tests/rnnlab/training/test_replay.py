"""`rnnlab replay`: a step once more, from the checkpoint before it, without a trace in the run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rnnlab import cli
from rnnlab.errors import ConfigError, DataError
from rnnlab.storage.runfolder import RunFolder
from rnnlab.training.replay import SHOWN, replay, replay_text
from tests.rnnlab.tiny_runs import journal, train, write_text


@pytest.fixture
def run(whole: Path) -> Path:
    """30 steps, with checkpoints of steps 28 and 30 (and that of the best)."""
    return whole


def recorded(run: Path, step: int) -> dict[str, Any]:
    return next(record for record in journal(run) if record["kind"] == "train" and record["step"] == step)


@pytest.mark.slow
@pytest.mark.parametrize(("step", "start"), [(1, 0), (3, 0), (29, 28), (30, 28)])
def test_a_step_comes_out_as_it_was_recorded(step: int, start: int, run: Path) -> None:
    found, before = replay(run, step), recorded(run, step)
    assert found.checkpoint == start
    assert found.loss == found.recorded_loss == before["loss"]
    assert found.grad_norm == before["grad_norm"]
    assert found.grad_norms == before["grad_norms"]
    assert found.not_finite == []


def test_the_bytes_are_those_of_the_sequences(run: Path, text: Path) -> None:
    found = replay(run, 2)
    data, sequence = text.read_text(), len(text.read_text()) * 9 // 10 // 4
    (chunk,) = found.chunks
    assert chunk.reading == 0
    assert chunk.position == recorded(run, 1)["bytes"] // 4
    starts = [number * sequence + chunk.position for number in range(4)]
    assert chunk.texts == [data[start : start + chunk.length] for start in starts]


def test_long_and_unprintable_text_is_shown_on_one_short_line(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes((b"line\n\xff\x00\xc3\xa9" + b"x" * 300) * 60)
    train(tmp_path / "run", text, "Trainer.steps = 1", "Trainer.bptt = 200", "Trainer.jitter = False")
    sequence = replay(tmp_path / "run", 1).chunks[0].texts[0]
    assert sequence == f"line\\n\\xff\\x00é{'x' * (SHOWN - 9)} ... {'x' * SHOWN}"


def test_nothing_in_the_folder_changes_and_a_held_run_can_be_replayed(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "lock"}
    with RunFolder.open(run).hold():
        replay(run, 5)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "lock"} == before


@pytest.mark.parametrize(
    ("step", "words"),
    [(0, "the first step is 1"), (31, "the run ends with step 30"), (5000, "the run ends with step 30")],
)
def test_a_step_that_the_run_does_not_have_is_refused(step: int, words: str, run: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        replay(run, step)


def test_another_text_is_refused(run: Path, tmp_path: Path) -> None:
    copy, text = tmp_path / "run", write_text(tmp_path)
    train(copy, text, "Trainer.steps = 2")
    text.write_bytes(write_text(tmp_path, seed=1).read_bytes())
    with pytest.raises(DataError, match="is not what the run trained on"):
        replay(copy, 2)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    damaged = copy / "checkpoints" / "step-00000028" / "state.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    found = replay(copy, 29)
    assert found.checkpoint < 28
    assert found.loss == recorded(run, 29)["loss"]


def test_the_command_prints_the_step_and_as_json_one_object(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", str(run), "--step", "29"]) == 0
    found = replay(run, 29)
    assert capsys.readouterr().out == replay_text(found) + "\n"
    assert f"recomputed from step 28: loss {found.loss:.6f} nats" in replay_text(found)
    assert cli.main(["replay", str(run), "--step", "29", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["loss"] == found.loss
    assert answer["chunks"][0]["texts"] == found.chunks[0].texts

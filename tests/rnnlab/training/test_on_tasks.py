"""Training on a task: fresh state for every example, a loss on what is asked, and all that a run on text promises."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import rnnlab
from rnnlab import api, config
from rnnlab.data.source import Chunk
from rnnlab.data.task_source import TaskSource
from rnnlab.errors import ConfigError, DataError
from rnnlab.evaluation import evaluate
from rnnlab.model import LanguageModel
from rnnlab.storage import metrics
from rnnlab.training.replay import replay, replay_text
from tests.rnnlab import small_tasks
from tests.rnnlab.small_tasks import FRAGMENTS, bindings, learner
from tests.rnnlab.tiny_runs import journal, state_hash, timeless
from tests.sampled import sampled

pytestmark = pytest.mark.slow  # whole runs

LEARNS = ["Trainer.steps = 150", "Parity.longest = 4", "Parity.test = [3, 4]", "Trainer.batch_size = 32",
          "LanguageModel.dim = 32", "dropout = 0.0", "LanguageModel.blocks = [@Block, @Block]",
          "LanguageModel.init_std = 0.05", "Trainer.optimizer = @optimizer.AdamW", "AdamW.lr = 3e-3"]  # fmt: skip
MODES = {
    "asked at the end, in chunks": ["Trainer.bptt = 5", "Trainer.source = @task.Recall", "Recall.test = [4]"],
    "whole examples": [],
    "in chunks": ["Trainer.bptt = 5"],
    "accumulated": ["Trainer.accumulate = 3"],
    "a fixed number": ["TaskSplits.train = 160"],
    "attention": ["Block.attention = %attention"],
}


@pytest.mark.parametrize("mode", sampled(MODES, ("whole examples", "attention")))
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(mode: str, tmp_path: Path) -> None:
    """As after a power cut behind the checkpoint of step 7: nothing later is there."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    want = small_tasks.train(whole, "Trainer.keep = 9", *MODES[mode])
    shutil.copytree(whole, cut)
    (cut / "result.json").unlink()
    for later in ("14", "20"):
        shutil.rmtree(cut / "checkpoints" / f"step-{later:0>8}")
    got = api.resume(cut)
    assert state_hash(cut) == state_hash(whole)
    assert journal(cut) == journal(whole)
    assert timeless(got) | {"run": ""} == timeless(want) | {"run": "", "peak_memory_mb": got["peak_memory_mb"]}


@pytest.mark.parametrize("mode", MODES)
def test_a_learner_restored_in_the_middle_of_anything_goes_through_the_same_numbers(mode: str) -> None:
    going = learner(*MODES[mode])
    for _ in range(4):
        going.step()
    snapshot = going.snapshot()
    snapshot = type(snapshot)(
        snapshot.step, snapshot.position, {name: x.clone() for name, x in snapshot.tensors.items()}, snapshot.facts
    )
    want = [timeless(going.step()) for _ in range(5)]
    again = learner(*MODES[mode])
    again.restore(snapshot)
    assert [timeless(again.step()) for _ in range(5)] == want


def test_an_example_begins_with_fresh_state_whatever_was_read_before() -> None:
    """The mutant that carries the state from batch to batch gives another loss."""
    going = learner("dropout = 0.0", "Block.attention = %attention", "Parity.longest = 3")
    for _ in range(3):
        going.step()
    chunks = going.chunks()
    assert [chunk.position for chunk in chunks] == [0]
    carried = float(going.backward(chunks)[0].loss)
    going.state = going.model.initial_state(going.batches.count)
    assert float(going.backward(chunks)[0].loss) == carried


def by_hand(model: LanguageModel, reader: object, chunk: Chunk) -> tuple[float, float]:
    """(loss over what is asked, accuracy on it) of a whole reading, an example at a time."""
    read = reader.read(chunk)  # type: ignore[attr-defined]
    nats, right, total = 0.0, 0.0, 0.0
    for example in range(read.inputs.shape[1]):
        logits, _ = model(read.inputs[:, example : example + 1], model.initial_state(1))
        for position in range(len(read.inputs)):
            weight = float(read.weights[position, example])
            target = read.targets[position, example]
            nats += weight * float(F.cross_entropy(logits[position], target[None]))
            right += weight * float(logits[position, 0].argmax() == target)
            total += weight
    return nats / total, right / total


RECALL = ["Trainer.source = @task.Recall", "Recall.pairs = [3, 4]", "Recall.test = [4]", "Recall.keys = 6"]


@pytest.mark.parametrize("task", [["Parity.longest = 9"], RECALL], ids=["asked everywhere", "asked at the end"])
def test_the_loss_is_the_mean_over_what_is_asked_and_accuracy_is_on_it(task: list[str]) -> None:
    going = learner("dropout = 0.0", *task)
    (chunk,) = going.chunks()
    with torch.no_grad():
        loss, accuracy = by_hand(going.model, going.batches, chunk)
    record = going.step()
    assert record["loss"] == pytest.approx(loss, rel=1e-5)
    assert record["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert "bpc" not in record
    assert record["bytes"] == 8 * chunk.length


def test_batches_that_are_accumulated_weigh_by_what_they_ask() -> None:
    """Two batches of different lengths make the gradient of their answers together."""
    going = learner("dropout = 0.0", "Trainer.accumulate = 4", "Trainer.clip = None")
    chunks = going.chunks()
    assert len({chunk.length for chunk in chunks}) > 1
    going.backward(chunks)
    got = {name: p.grad.clone() for name, p in going.model.named_parameters() if p.grad is not None}
    going.model.zero_grad()
    total = 0.0
    for chunk in chunks:
        read = going.batches.read(chunk)
        logits, _ = going.model(read.inputs, going.model.initial_state(8))
        F.cross_entropy(logits.flatten(0, 1), read.targets.flatten(), reduction="sum").backward()
        total += read.targets.numel()
    for name, p in going.model.named_parameters():
        if p.grad is not None:
            assert torch.allclose(got[name], p.grad / total, rtol=1e-4, atol=1e-7), name


def test_the_score_does_not_depend_on_the_batch_or_the_cut() -> None:
    built = learner("Block.attention = %attention")
    assert isinstance(built.source, TaskSource)
    want = evaluate(built.model, built.source.test, batch_size=24, bptt=64)
    for batch_size, bptt in ((1, 64), (7, 3), (24, 1)):
        got = evaluate(built.model, built.source.test, batch_size=batch_size, bptt=bptt)
        assert [one.accuracy for one in got.by] == [one.accuracy for one in want.by]
        assert [one.accuracy_whole for one in got.by] == [one.accuracy_whole for one in want.by]
        assert got.nats == pytest.approx(want.nats, rel=1e-5)
    assert [(one.difficulty, one.examples, one.answers) for one in want.by] == [(12, 24, 24), (20, 24, 24)]
    for one in want.by:
        made = built.source.make("test", one.difficulty, np.arange(24))
        logits, _ = built.model.eval()(torch.from_numpy(made.inputs.T.copy()), built.model.initial_state(24))
        right = logits.argmax(-1).T.numpy() == made.targets
        found = (one.accuracy_last, one.accuracy_asked, one.accuracy_whole)
        assert found == pytest.approx((right[:, -1].mean(), right.mean(), right.all(axis=1).mean()))
        assert one.accuracy == one.accuracy_last
        assert one.accuracy == pytest.approx(round(24 * one.accuracy) / 24)
        assert abs(one.accuracy_asked - 0.5) < 0.2


@pytest.mark.slow
def test_a_model_that_has_learned_is_scored_1_and_one_that_guesses_is_at_chance(tmp_path: Path) -> None:
    learned = small_tasks.train(tmp_path / "run", *LEARNS)
    assert learned["test_accuracy"] > 0.95
    assert learned["valid_accuracy"] > 0.95
    assert learned["test_nats"] < 0.2
    assert [one["length"] for one in learned["test_by"]] == [3, 4]
    assert learned["task"] == {"name": "Parity", "difficulty": "length", "judged": "last", "trained": [3, 4]}
    assert (learned["valid_chance"], learned["test_chance"]) == (0.5, 0.5)
    assert learned["protocol"] == {"batch_size": 8, "bptt": 16, "memory": None, "examples": 48, "answers": 48}
    assert "valid_bpc" not in learned


def test_result_and_metrics_say_what_the_run_scored(tmp_path: Path) -> None:
    result = small_tasks.train(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == {
        key: value for key, value in result.items() if key != "run"
    }
    points = [record for record in metrics.read(tmp_path / "run" / "metrics.jsonl") if record["kind"] == "valid"]
    assert points[-1]["valid_accuracy"] == result["valid_accuracy"]
    assert points[-1]["examples"] == 32
    best = min(points, key=lambda record: record["valid_nats"])
    assert (result["best_valid_nats"], result["best_valid_accuracy"]) == (best["valid_nats"], best["valid_accuracy"])
    assert result["steps"] == 20
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert (environment["corpus"], environment["vocabulary"]) == ("Parity", 2)


@pytest.mark.long
def test_a_run_is_evaluated_at_difficulties_of_ones_choice(tmp_path: Path) -> None:
    result = small_tasks.train(tmp_path / "run")
    score = rnnlab.evaluate(tmp_path / "run")
    assert [one.accuracy for one in score.by] == [one["accuracy"] for one in result["test_by"]]
    assert score.nats == pytest.approx(result["test_nats"], rel=1e-6)
    chosen = rnnlab.evaluate(tmp_path / "run", at=[30, 5])
    assert [one.difficulty for one in chosen.by] == [30, 5]
    assert rnnlab.evaluate(tmp_path / "run", "valid").accuracy == result["valid_accuracy"]
    with pytest.raises(ConfigError, match="--at 0"):
        rnnlab.evaluate(tmp_path / "run", at=[0])
    for other in ({"split": "valid"}, {"corpus": "python_stdlib"}):
        with pytest.raises(ConfigError, match="--at 5: it takes test examples"):
            rnnlab.evaluate(tmp_path / "run", at=[5], **other)
    with pytest.raises(ConfigError, match="trained on the task Parity, and this takes a model of a text"):
        rnnlab.evaluate(tmp_path / "run", corpus="python_stdlib")


def test_a_step_is_shown_once_more_with_the_tokens_that_it_read(tmp_path: Path) -> None:
    small_tasks.train(tmp_path / "run")
    found = replay(tmp_path / "run", 9)
    assert found.loss == found.recorded_loss
    assert found.bpc is None
    (seen,) = found.chunks
    assert seen.reading == 8
    assert len(seen.texts) == 8
    assert all(set(text.split()) <= {"0", "1"} and len(text.split()) == seen.length for text in seen.texts)
    assert f"batch 8 of examples, {seen.length} positions" in replay_text(found)


def test_epochs_count_where_the_number_of_examples_is_fixed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Trainer\.epochs = 3: Parity makes new examples without end.*TaskSplits"):
        small_tasks.train(tmp_path / "run", "Trainer.steps = None", "Trainer.epochs = 3.0")
    assert not (tmp_path / "run").exists()
    assert learner("Trainer.epochs = 3.0").budget_bytes() == 20 * 8 * 7.5  # the steps end it
    fixed = ["Trainer.steps = None", "Trainer.epochs = 3.0", "TaskSplits.train = 80"]
    result = small_tasks.train(tmp_path / "run", *fixed)
    assert result["steps"] == 3 * 10  # batches of eight, at ten lengths
    assert result["bytes_trained"] == 3 * 8 * sum(range(3, 13))


def test_a_task_that_makes_other_examples_than_it_did_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_tasks.train(tmp_path / "run", "Trainer.steps = 7")
    task = type(config.resolve(FRAGMENTS, bindings()) and learner().source.task)
    monkeypatch.setattr(task, "oracle", lambda self, inputs, difficulty: 1 - inputs)
    said = r"^the task Parity is not what the run trained on.*bring the code .* back, or start a new run$"
    with pytest.raises(DataError, match=said):
        api.resume(tmp_path / "run", ["Trainer.steps = 20"])


def test_what_takes_a_model_of_text_says_so(tmp_path: Path) -> None:
    from rnnlab.generation import generate

    small_tasks.train(tmp_path / "run", "Trainer.steps = 2")
    loaded = rnnlab.load(tmp_path / "run")
    with pytest.raises(ConfigError, match="2 tokens of a task"):
        generate(loaded.model, b"\n")


def test_a_root_for_text_takes_a_task_with_its_whole_recipe() -> None:
    """unseen_logit among it: here no token is never asked."""
    going = learner("Trainer.unseen_logit = -10.0")
    assert torch.equal(going.model.output_bias, torch.zeros(2))
    assert math.isfinite(going.step()["loss"])

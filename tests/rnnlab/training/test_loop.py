"""What a run promises, without faults from outside: the same bits however it is cut, watched or saved."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnlab import api, rng
from rnnlab.data.corpora import open_corpus
from rnnlab.errors import ConfigError, DataError, Stopped, StorageError
from rnnlab.evaluation import evaluate
from rnnlab.training.learner import Learner
from rnnlab.training.loop import SPIKE_AFTER, Loop
from tests.rnnlab.tiny_runs import build, journal, losses, new_loop, state_hash, timeless, train, write_text
from tests.sampled import sampled


def stop_after(loop: Loop, step: int) -> None:
    """Train until the signal that comes during `step` is obeyed."""

    def observe(record: dict[str, Any]) -> None:
        if record["kind"] == "train" and record["step"] == step:
            signal.raise_signal(signal.SIGTERM)

    loop.observers = [observe]
    with loop.folder.hold(), pytest.raises(Stopped) as stopped:
        loop.run()
    assert stopped.value.exit_code == 143
    assert loop.learner.progress.step == step


VARIANTS = {
    "": [],
    "qrnn": ["Block.core = @core.QRNN"],
    "rg_lru and projected": ["Block.core = @core.RGLRU", "attention = @attention.Projected", "Projected.heads = 2"],
    "mlstm, slstm, alibi, delta net, mamba2": [
        "LanguageModel.blocks = [@Block, @b/Block, @sha/Block, @d/Block]", "Block.core = @core.MLSTM",
        "b/Block.core = @core.SLSTM", "sha/Block.core = @core.GatedDeltaNet", "GatedDeltaNet.negative = True",
        "d/Block.core = @core.Mamba2", "Mamba2.states = 5", "attention = @attention.ALiBi", "ALiBi.heads = 2",
    ],
    "gla, sru_pp, adaptive span, mogrifier": [
        "LanguageModel.blocks = [@Block, @b/Block, @sha/Block]", "Block.core = @core.GLA",
        "b/Block.core = @core.SRUPP", "sha/Block.core = @core.MogrifierLSTM",
        "attention = @attention.AdaptiveSpan", "AdaptiveSpan.heads = 2", "AdaptiveSpan.first = 0.5",
    ],
    "a memory that slides, in odd widths": ["LanguageModel.dim = 10", "memory = 7", "Trainer.batch_size = 3"],
    "chunks longer than the memory": ["memory = 5", "Trainer.bptt = 40"],
    "accumulation": ["Trainer.accumulate = 3"],
    "over the end of an epoch": ["Trainer.batch_size = 16", "Trainer.bptt = 50"],
    "sgd": ["Trainer.optimizer = @optimizer.SGD", "SGD.momentum = 0.9", "SGD.lr = 0.1"],
    "two passes of lamb": [
        "Trainer.optimizer = @optimizer.Lamb", "Trainer.schedule = @schedule.TwoPass", "TwoPass.warmup = 4",
        "TwoPass.switch = 0.5",
    ],
    "lamb over the bytes that occur": ["Trainer.optimizer = @optimizer.Lamb", "Trainer.unseen_logit = -10.0"],
    "decay of matrices, and rates by part": [
        "Trainer.weight_decay_on = 'matrices'", "Muon.weight_decay = 0.1",
        "Trainer.lr_factors = {'core': 0.5, 'embedding': 2.0}",
    ],
    "bf16": ["Trainer.precision = 'bf16'"],
    "fp16": ["Trainer.precision = 'fp16'"],
}  # fmt: skip


@pytest.mark.parametrize("name", sampled(VARIANTS, ("", "qrnn", "over the end of an epoch")))
@pytest.mark.slow
def test_a_resumed_run_equals_one_that_was_left_alone(name: str, text: Path, tmp_path: Path) -> None:
    train(tmp_path / "whole", text, *VARIANTS[name])
    stop_after(new_loop(tmp_path / "cut", text, *VARIANTS[name]), step=16)
    api.resume(tmp_path / "cut")
    assert state_hash(tmp_path / "cut") == state_hash(tmp_path / "whole")
    assert journal(tmp_path / "cut") == journal(tmp_path / "whole")
    results = [timeless(json.loads((tmp_path / name / "result.json").read_text())) for name in ("cut", "whole")]
    assert {**results[0], "peak_memory_mb": 0} == {**results[1], "peak_memory_mb": 0}


@pytest.mark.slow
@pytest.mark.parametrize(
    "cadence",
    [
        ["Trainer.eval_every = 100"],
        ["Trainer.eval_every = 100_000"],
        [
            "Trainer.eval_bytes = 100",
            "Trainer.eval_batch_size = 3",
            "Trainer.eval_bptt = 7",
            "Trainer.eval_every = 300",
        ],
        ["Trainer.save_every = 1", "Trainer.keep = 3"],
        ["Trainer.save_every = 1000"],
        ["Trainer.log_every = 9"],
    ],
    ids=lambda cadence: cadence[0],
)
def test_evaluating_logging_and_saving_change_no_bit(
    cadence: list[str], text: Path, whole: Path, tmp_path: Path
) -> None:
    train(tmp_path / "run", text, *cadence)
    assert state_hash(tmp_path / "run") == state_hash(whole)
    seen = losses(tmp_path / "run")
    assert len(seen) >= 3
    assert seen.items() <= losses(whole).items()


@pytest.mark.slow
def test_an_observer_that_draws_random_numbers_changes_no_bit(text: Path, whole: Path, tmp_path: Path) -> None:
    loop = new_loop(tmp_path / "run", text)
    loop.observers = [lambda record: rng.seed_torch(7, 7, "mischief"), lambda record: print(torch.rand(3))]
    with loop.folder.hold():
        loop.run()
    assert state_hash(tmp_path / "run") == state_hash(whole)
    assert journal(tmp_path / "run") == journal(whole)


@pytest.mark.slow
def test_a_run_that_died_before_its_first_save_starts_anew(text: Path, whole: Path, tmp_path: Path) -> None:
    new_loop(tmp_path / "run", text)
    api.resume(tmp_path / "run")
    assert state_hash(tmp_path / "run") == state_hash(whole)
    assert journal(tmp_path / "run") == journal(whole)


def test_a_run_of_which_no_checkpoint_is_whole_is_not_started_anew(text: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", text, "Trainer.steps = 3")
    for path in (tmp_path / "run" / "checkpoints").glob("*/state.safetensors"):
        path.write_bytes(b"damaged")
    with pytest.raises(StorageError, match="no checkpoint is whole"):
        api.resume(tmp_path / "run")


@pytest.mark.slow
def test_a_longer_budget_leaves_the_past_and_its_schedule_alone(text: Path, tmp_path: Path) -> None:
    decay = ("Cosine.final = 0.25", "Cosine.warmup = 1")
    planned = train(tmp_path / "alone", text, *decay)["steps"]
    train(tmp_path / "run", text, *decay)
    longer = api.resume(tmp_path / "run", [f"Trainer.steps = {planned + 4}"])
    assert longer["steps"] == planned + 4
    assert losses(tmp_path / "alone").items() <= losses(tmp_path / "run").items()
    rates = {record["step"]: record["lr"] for record in journal(tmp_path / "run") if record["kind"] == "train"}
    beyond = {rate for step, rate in rates.items() if step > planned}
    assert beyond == {0.25 * rates[1]}, "the cosine kept its budget, and stays where it ended"
    assert (tmp_path / "run" / "resumed.gin").read_text() == f"Trainer.steps = {planned + 4}\n"


def test_a_longer_budget_at_a_learning_rate_of_0_is_refused(text: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", text, "Trainer.steps = 3")
    before = state_hash(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"learning rate to 0 at 288 bytes.*start a new run"):
        api.resume(tmp_path / "run", ["Trainer.steps = 6"])
    assert state_hash(tmp_path / "run") == before
    assert not (tmp_path / "run" / "resumed.gin").exists()


@pytest.mark.slow
@pytest.mark.parametrize("change", ["Trainer.batch_size = 8", "Trainer.seed = 2", "dropout = 0.2", "Muon.lr = 0.1"])
def test_resuming_cannot_change_the_past(change: str, text: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", text, "Trainer.steps = 3")
    before = state_hash(tmp_path / "run")
    with pytest.raises(ConfigError, match="resuming cannot change it"):
        api.resume(tmp_path / "run", [change])
    assert state_hash(tmp_path / "run") == before
    assert not (tmp_path / "run" / "resumed.gin").exists()


def test_resuming_on_another_text_is_refused(tmp_path: Path) -> None:
    text = write_text(tmp_path)
    train(tmp_path / "run", text, "Trainer.steps = 3")
    text.write_bytes(write_text(tmp_path, seed=1).read_bytes())
    with pytest.raises(DataError, match="is not what the run trained on"):
        api.resume(tmp_path / "run")


def test_a_run_that_goes_on_has_no_result_until_it_ends(text: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", text, "Trainer.steps = 3")
    loop = new_loop(tmp_path / "next", text, "Trainer.steps = 3")
    seen = []
    (tmp_path / "next" / "result.json").write_text('{"status": "stopped"}')
    loop.observers = [lambda record: seen.append(loop.folder.result())]
    with loop.folder.hold():
        loop.run()
    assert seen
    assert set(seen) == {None}
    assert loop.folder.result() is not None


def test_a_split_too_short_to_evaluate_is_told_before_there_is_a_folder(tmp_path: Path) -> None:
    text = write_text(tmp_path, size=200)
    with pytest.raises(DataError, match="valid split has 10 bytes, too few for 8 sequences"):
        train(tmp_path / "run", text)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_run_ends_at_the_first_budget_that_it_reaches(text: Path, tmp_path: Path) -> None:
    fixed = ("Trainer.jitter = False", "Trainer.epochs = 0.05")
    by_epoch = train(tmp_path / "a", text, *fixed, "Trainer.steps = 100")
    sequence_bytes = (12_000 * 9 // 10 // 4 - 1) * 4
    assert 0.05 * sequence_bytes <= by_epoch["bytes_trained"] < 0.05 * sequence_bytes + 24 * 4
    by_bytes = train(tmp_path / "b", text, *fixed, "Trainer.steps = 100", "Trainer.bytes = 200")
    assert by_bytes["bytes_trained"] == 3 * 24 * 4


@pytest.mark.long
def test_every_point_of_a_curve_scores_the_same_bytes_also_after_a_resumption_with_a_longer_budget(
    text: Path, tmp_path: Path
) -> None:
    fixed = ("Trainer.schedule = @schedule.Constant", "Trainer.eval_every = None", "Trainer.eval_bytes = None")
    stop_after(new_loop(tmp_path / "run", text, *fixed), step=20)
    result = api.resume(tmp_path / "run", ["Trainer.steps = 60"])
    scored = [record["bytes_scored"] for record in journal(tmp_path / "run") if record["kind"] == "valid"]
    assert len(scored) >= 2
    assert set(scored) == {result["valid_protocol"]["bytes_scored"]}
    assert result["valid_bpc"] == journal(tmp_path / "run")[-1]["valid_bpc"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "binding", sampled(["Trainer.eval_bytes = 100", "Trainer.eval_batch_size = 2"], ("Trainer.eval_bytes = 100",))
)
def test_how_much_is_scored_cannot_change_within_a_curve(binding: str, text: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", text)
    with pytest.raises(ConfigError, match="resuming cannot change it"):
        api.resume(tmp_path / "run", [binding])


@pytest.mark.slow
def test_an_evaluation_that_was_made_is_not_made_again(text: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", text)
    before = journal(tmp_path / "run")
    again = api.resume(tmp_path / "run")
    assert journal(tmp_path / "run") == before
    assert again["seconds_evaluating"] > 0


@pytest.mark.parametrize(
    "lengths", [(24, 24, 24), (24, 3, 9)], ids=["equal", "as jitter and the end of a text make them"]
)
def test_accumulated_chunks_carry_the_state_and_weigh_by_their_bytes(lengths: tuple[int, ...], text: Path) -> None:
    built = build(text, "Trainer.accumulate = 3", "Trainer.jitter = False", "dropout = 0.0")
    built.model.double()
    learner = Learner(built)
    planned = learner.chunks()
    assert [chunk.position for chunk in planned] == [0, 24, 48]
    starts = [sum(lengths[:i]) for i in range(3)]
    chunks = [planned[0]._replace(position=start, length=n) for start, n in zip(starts, lengths, strict=True)]
    told, _ = learner.backward(chunks)
    together = {name: p.grad.clone() for name, p in learner.model.named_parameters() if p.grad is not None}
    loss, gradients = torch.zeros(()), {name: torch.zeros_like(x) for name, x in together.items()}
    learner.trainer.accumulate = 1
    for chunk in chunks:
        share = chunk.length / sum(lengths)
        one, learner.state = learner.backward([chunk])
        loss = loss + share * one.loss
        for name, p in learner.model.named_parameters():
            assert p.grad is not None
            gradients[name] += share * p.grad
    torch.testing.assert_close(told.loss, loss)
    torch.testing.assert_close(together, gradients)


@pytest.mark.slow
def test_a_spike_is_reported_at_its_step_and_names_the_replay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch_size, chunk, at = 4, 24, SPIKE_AFTER + 33
    length = chunk * (at + 20)
    sequence = b"ab" * (chunk * (at - 1) // 2)
    sequence += bytes(range(128, 256)) * 2
    sequence += b"ab" * (length - len(sequence))
    train_text, other = tmp_path / "train", write_text(tmp_path)
    train_text.write_bytes(sequence[:length] * batch_size)
    files = [f"File.valid = {str(other)!r}", f"File.test = {str(other)!r}"]
    fixed = [
        f"Trainer.steps = {at + 1}",
        "Muon.lr = 0.03",
        "Trainer.jitter = False",
        "Trainer.log_every = 1000",
        *files,
    ]
    train(tmp_path / "run", train_text, *fixed)
    spikes = [record["step"] for record in journal(tmp_path / "run") if record["kind"] == "spike"]
    assert spikes[:1] == [at]
    assert f"rnnlab replay {tmp_path / 'run'} --step {at}` shows the step" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("average", "loss", "told"), [(1.0, 2.01, 1), (1.0, 1.99, 0), (0.001, 0.6, 0), (0.001, 0.7, 1)], ids=str
)
def test_a_spike_is_twice_the_average_and_a_bit_a_byte_above_it(
    average: float, loss: float, told: int, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = new_loop(tmp_path / "run", text, "Trainer.log_every = 1000")
    with loop.folder.hold():
        loop._watch({"step": SPIKE_AFTER + 1, "loss": loss}, average)
    assert [record["kind"] for record in journal(tmp_path / "run")] == ["spike"] * told
    assert capsys.readouterr().err.count("the loss jumped") == told


@pytest.mark.slow
def test_the_best_is_the_lowest_of_the_curve(text: Path, tmp_path: Path) -> None:
    result = train(tmp_path / "run", text, "Trainer.eval_bytes = 100", "Trainer.eval_every = 400")
    points = [record for record in journal(tmp_path / "run") if record["kind"] == "valid"]
    assert len(points) > 2
    assert result["best_valid_bpc"] == min(record["valid_bpc"] for record in points)
    model = api.load(tmp_path / "run").model
    valid = open_corpus(str(text)).valid
    at_the_end = evaluate(model, valid, batch_size=8, bptt=64, limit=100)
    assert result["valid_bpc"] == at_the_end.bpc
    assert result["valid_protocol"]["bytes_scored"] == at_the_end.protocol.bytes_scored
    assert result["valid_unigram_bpc"] == valid[:100].unigram_bpc(), "of what was scored"
    assert result["test_unigram_bpc"] == open_corpus(str(text)).test[:100].unigram_bpc()

"""A run that scores what it trains on before it learns from it, and one that is scored as it goes on learning."""

from pathlib import Path

import pytest

from rnnlab import api
from rnnlab.codec.files import compress_online
from rnnlab.errors import ConfigError
from rnnlab.scoring.losses import LN2
from rnnlab.training.learner import Learner
from tests.rnnlab import tiny_runs
from tests.rnnlab.small_texts import written


def test_without_noise_it_is_the_mean_loss_before_each_step(text: Path) -> None:
    built = tiny_runs.build(text, "dropout = 0.0", "Trainer.online = True")
    learner = Learner(built)
    nats = 0.0
    for _ in range(5):
        before = learner.progress.bytes
        record = learner.step()
        nats += record["loss"] * (learner.progress.bytes - before)
    assert learner.progress.online_bytes == learner.progress.bytes
    assert learner.progress.online_nats == pytest.approx(nats, rel=1e-5)


def test_to_score_first_changes_no_bit_of_what_is_learned(text: Path) -> None:
    plain, scored = (Learner(tiny_runs.build(text, *more)) for more in ((), ("Trainer.online = True",)))
    assert tiny_runs.losses_of(plain, 6).tolist() == tiny_runs.losses_of(scored, 6).tolist()


def test_a_second_pass_counts_no_more(text: Path) -> None:
    learner = Learner(tiny_runs.build(text, "Trainer.online = True", "Trainer.bptt = 1000", "Trainer.jitter = False"))
    epoch = learner.epoch_bytes()
    assert epoch is not None
    while learner.progress.bytes <= epoch:
        learner.step()
    assert learner.progress.online_bytes == epoch


def test_what_goes_on_from_a_checkpoint_comes_to_the_same(text: Path) -> None:
    whole, resumed = (Learner(tiny_runs.build(text, "Trainer.online = True")) for _ in range(2))
    tiny_runs.losses_of(whole, 5)
    resumed.restore(whole.snapshot())
    assert tiny_runs.losses_of(whole, 3).tolist() == tiny_runs.losses_of(resumed, 3).tolist()
    assert resumed.progress.online_nats == whole.progress.online_nats > 0.0
    assert resumed.progress.online_bytes == whole.progress.online_bytes == whole.progress.bytes


def test_the_result_has_it_where_it_was_asked_for(text: Path, tmp_path: Path) -> None:
    scored = tiny_runs.train(tmp_path / "scored", text, "Trainer.online = True", "Trainer.steps = 3")
    assert 0.0 < scored["online_bpc"] < 16.0
    assert "online_bpc" not in tiny_runs.train(tmp_path / "plain", text, "Trainer.steps = 1")


def test_it_is_what_compressing_the_training_split_comes_to(text: Path, tmp_path: Path) -> None:
    """Chunks at once, and position by position: roundings apart."""
    data = text.read_bytes()[:1600]
    short = written(tmp_path / "short", data)
    train = written(tmp_path / "train", data[: 1600 * 9 // 10])
    more = ["Trainer.bytes = 1440", "dropout = 0.0", "Trainer.jitter = False", "Trainer.batch_size = 2",
            "LanguageModel.dim = 8"]  # fmt: skip
    learner = Learner(tiny_runs.build(short, *more, "Trainer.online = True", "Trainer.steps = None"))
    while learner.progress.online_bytes < (learner.epoch_bytes() or 0):
        learner.step()
    bindings = [line for line in tiny_runs.bindings(text, *more) if not line.startswith(("File.", "Trainer.source"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rnnlab.codec.streams.SHORTEST", 100)
        figures = compress_online(train, tmp_path / "x.rnn", tiny_runs.FRAGMENTS, bindings)
    assert figures["coded_bytes"] == learner.progress.online_bytes
    online = learner.progress.online_nats / learner.progress.online_bytes / LN2
    assert figures["model_bpc"] == pytest.approx(online, rel=1e-3)


def test_a_run_may_be_scored_dynamically_at_its_end(text: Path, tmp_path: Path) -> None:
    bound = ["Trainer.dynamic = @Dynamic", "Dynamic.rate = 1e-3", "Dynamic.statistics = 400", "Trainer.steps = 12"]
    result = tiny_runs.train(tmp_path / "run", text, *bound)
    assert result["valid_dynamic_bpc"] < result["valid_bpc"]
    again = api.evaluate(tmp_path / "run", "test", dynamic=True)
    assert again.bpc == result["test_dynamic_bpc"]
    assert result["dynamic_protocol"] == again.protocol.told()
    assert "dynamic" not in result["protocol"]


@pytest.mark.parametrize("binding", ["Trainer.online = True", "Trainer.dynamic = @Dynamic"])
def test_a_task_has_neither(tmp_path: Path, binding: str) -> None:
    with pytest.raises(ConfigError, match="is for texts"):
        api.train(["sha_task", "task/parity"], [binding, "Trainer.steps = 1"], run=tmp_path / "run")

"""The plain baseline and rnnlab are the same model, trained the same way."""

from pathlib import Path

import pytest
import torch

from bench import plain
from rnnlab import config
from rnnlab.errors import ConfigError
from rnnlab.generation import generate
from rnnlab.testing import rounding
from rnnlab.training.experiment import build
from rnnlab.training.learner import Learner
from tests.rnnlab import quick_runs
from tests.sampled import sampled

STEPS = 20
ROUNDING_OF_MUON = torch.finfo(torch.bfloat16).eps / 2  # the plain one orthogonalizes in bfloat16
RECIPES = {
    "the default": [],
    "adamw": ["Trainer.optimizer = @optimizer.AdamW", "AdamW.lr = 4e-3"],
    "lamb": ["Trainer.optimizer = @optimizer.Lamb", "Lamb.lr = 5e-3", "Lamb.weight_decay = 1e-4"],
}


def learner(folder: Path, root: str, *bindings: str) -> Learner:
    """Of a tiny SHA-RNN in fp32 without dropout, whose memory is shorter than two chunks."""
    shared = quick_runs.bindings(folder, STEPS, bindings)
    if root == "sha_lstm_no_attention":
        shared = [binding for binding in shared if not binding.startswith("memory")]
    return Learner(build(config.resolve([root, "size/tiny"], shared)))


@pytest.mark.slow
@pytest.mark.parametrize("root", sampled(["sha_rnn", "sha_rnn_every_layer", "sha_lstm_no_attention"], ("sha_rnn",)))
@pytest.mark.parametrize("recipe", RECIPES)
def test_twenty_steps_lose_the_same(root: str, recipe: str, tmp_path: Path) -> None:
    ours = learner(tmp_path, root, *RECIPES[recipe])
    baseline = plain.Baseline(ours)
    losses = []
    for _ in range(STEPS):
        (chunk,) = ours.chunks()
        inputs, targets = ours.batches.chunk(chunk.position, chunk.length)
        record = ours.step()
        losses.append((record["loss"], baseline.step(inputs, targets, record["lr"])))
    assert losses[-1][0] < losses[0][0] - 0.5  # it learned something: equal losses are no accident
    own, others = torch.tensor(losses).unbind(1)
    if recipe == "the default":
        assert ((own - others).abs() <= ROUNDING_OF_MUON * own).all()
        return
    exact = learner(tmp_path, root, *RECIPES[recipe])
    exact.model.double()
    exact.state = exact.model.initial_state(exact.batches.count)
    wanted = torch.tensor([exact.step()["loss"] for _ in range(STEPS)], dtype=torch.float64)
    rounding.check_no_worse(own, than=others, exact=wanted)
    rounding.check_no_worse(others, than=own, exact=wanted)


def test_with_dropout_the_plain_model_still_learns(tmp_path: Path) -> None:
    ours = learner(tmp_path, "sha_rnn", "dropout = 0.1")
    baseline = plain.Baseline(ours)
    (chunk,) = ours.chunks()
    inputs, targets = ours.batches.chunk(chunk.position, chunk.length)
    losses = [baseline.step(inputs, targets, 4e-3) for _ in range(10)]
    assert losses[-1] < losses[0] - 0.5


@pytest.mark.slow
def test_both_write_the_same_bytes(tmp_path: Path) -> None:
    ours = learner(tmp_path, "sha_rnn", "memory = 9")
    for _ in range(STEPS):
        ours.step()
    written = b"".join(generate(ours.model, b"The quick", count=40, temperature=0.0))
    others = plain.likeliest(plain.twin(ours.model), b"The quick")
    assert bytes(next(others) for _ in range(40)) == written


@pytest.mark.parametrize(
    ("binding", "named"),
    [
        ("Block.core = @core.GRU", "GRU"),
        ("Boom.dropout = 0.3", "one dropout"),
        ("LSTM.dropconnect = 0.3", "dropconnect"),
        ("Trainer.optimizer = @optimizer.SGD", "SGD"),
        ("Trainer.accumulate = 2", "accumulate"),
        ("Trainer.weight_decay_on = 'matrices'", "weight_decay_on"),
        ("Trainer.lr_factors = {'core': 0.5}", "lr_factors"),
    ],
)
def test_another_model_is_refused(binding: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=named):
        plain.Baseline(learner(tmp_path, "sha_rnn", binding))


def test_products_go_back_to_where_they_went() -> None:
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    with plain.torchs_own_products():
        assert settings.fp32_precision == "none"
    assert settings.fp32_precision == before

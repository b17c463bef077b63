"""A training step sees the same masks whichever paths compute it; a GPU runs those without C kernels."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rnnlab import config
from rnnlab.ops import native
from rnnlab.testing import rounding
from rnnlab.training import experiment
from rnnlab.training.learner import Learner
from tests.rnnlab.tiny_runs import bindings, losses_of, write_text

STEPS = 3  # the memory is full after two
MODELS = {
    "sha_rnn": ["sha_rnn"],
    "a head in every layer": ["sha_rnn_every_layer"],
    "pre_norm and projected attention": ["sha_rnn", "block/pre_norm", "attention/projected"],
    "several heads over a gru": ["sha_rnn", "attention/multi_head", "core/gru"],
    "qrnn with zoneout": ["sha_rnn", "core/qrnn"],
    "swiglu": ["sha_rnn", "feedforward/swiglu"],
}
BINDINGS = ["dropout = 0.3", "LanguageModel.dim = 16", "Trainer.jitter = False", "Trainer.optimizer = @optimizer.Lamb"]
NOISE = {
    "sha_rnn": ["LSTM.dropconnect = 0.2"],
    "qrnn with zoneout": ["QRNN.zoneout = 0.3"],
}


@pytest.fixture(autouse=True)
def own_kernels() -> Iterator[None]:
    native.kernels.cache_clear()
    yield
    native.kernels.cache_clear()


def losses(text: Path, name: str, dtype: torch.dtype = torch.float32, device: str = "cpu", masks: int = 1) -> Tensor:
    """Of the first steps, with dropout everywhere, its masks by a seed of their own."""
    lines = [*BINDINGS, f"Trainer.device = {device!r}", *NOISE.get(name, [])]
    learner = Learner(experiment.build(config.resolve([*MODELS[name], "size/tiny"], bindings(text, *lines))))
    learner.model.to(dtype)
    learner.trainer.seed = masks
    return losses_of(learner, STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_paths_with_and_without_kernels_draw_the_same_masks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if native.kernels() is None:
        pytest.skip("there are no CPU kernels here")
    text = write_text(tmp_path)
    fast = losses(text, name)
    monkeypatch.setenv("RNNLAB_NATIVE", "0")
    native.kernels.cache_clear()
    plain, exact = losses(text, name), losses(text, name, torch.float64)
    rounding.check_no_worse(fast, than=plain, exact=exact)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", MODELS)
def test_a_step_on_a_card_sees_the_masks_of_the_cpu(name: str, tmp_path: Path) -> None:
    text = write_text(tmp_path)
    there, exact = losses(text, name, device="cuda"), losses(text, name, torch.float64)
    torch.testing.assert_close(there.double(), exact, rtol=1e-4, atol=0.0)
    others = losses(text, name, torch.float64, masks=2)
    assert float((others - exact).abs().max()) > 1e-2, "other masks would show"

"""The order of a wavefront is another, the numbers are the same: loss, gradients and the stream that is carried on."""

from pathlib import Path

import pytest
import torch

from bench.wavefront import Wavefront
from rnnlab import config
from rnnlab.state import leaves
from rnnlab.training.experiment import build
from rnnlab.training.learner import Learner
from tests.rnnlab import quick_runs
from tests.sampled import sampled

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("core", sampled(["lstm", "qrnn"], ("lstm",)))
@pytest.mark.parametrize("root", ["sha_rnn", "sha_rnn_every_layer"])
def test_a_wavefront_leaves_the_loss_and_every_gradient_as_they_are(
    root: str, core: str, device: str, tmp_path: Path
) -> None:
    bindings = quick_runs.bindings(tmp_path, 10, [f"Trainer.device = {device!r}"])
    built = [build(config.resolve([root, "size/tiny", f"core/{core}"], bindings)) for _ in range(2)]
    for one in built:
        one.model.double()
    plain, cut = map(Learner, built)
    cut.model.through_blocks = Wavefront(cut.model, pieces=5)  # type: ignore[method-assign]
    for step in range(5):
        (loss, _), stream = plain.backward(plain.chunks())
        (cut_loss, _), cut_stream = cut.backward(cut.chunks())
        assert float(cut_loss) == pytest.approx(float(loss), rel=2**-23), f"step {step + 1}"  # added up in float32
        for (name, wanted), got in zip(plain.model.named_parameters(), cut.model.parameters(), strict=True):
            torch.testing.assert_close(got.grad, wanted.grad, msg=lambda m, n=name: f"{n}: {m}")
        for (name, want_leaf), (_, got_leaf) in zip(leaves(stream), leaves(cut_stream), strict=True):
            torch.testing.assert_close(got_leaf, want_leaf, msg=lambda m, n=name: f"{n}: {m}")
        plain.step()
        cut.model.load_state_dict(plain.model.state_dict())
        cut.state, cut.progress = plain.state, plain.progress

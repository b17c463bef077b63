"""What is clever changes nothing but the time: a whole model says the same with and without it."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from rnnlab import config, generation
from rnnlab.generation import generate, in_place
from rnnlab.model import LanguageModel
from rnnlab.ops import native
from rnnlab.testing import rounding
from rnnlab.training.experiment import build
from rnnlab.training.learner import Learner
from tests.rnnlab import quick_runs
from tests.sampled import sampled

PROMPT = b"The quick brown fox jumps over 12 lazy dogs; "
VARIANTS = {
    "sha_rnn": ["sha_rnn", "size/tiny"],
    "every layer": ["sha_rnn_every_layer", "size/tiny"],
    "several heads": ["sha_rnn", "size/tiny", "attention/multi_head"],
    "projected": ["sha_rnn", "size/tiny", "attention/projected"],
    "qrnn": ["sha_rnn", "size/tiny", "core/qrnn"],
    "pre_norm": ["sha_rnn", "size/tiny", "block/pre_norm"],
}


@pytest.fixture
def without_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Called with nothing: `monkeypatch`, and at the end the kernels as they were."""
    yield monkeypatch
    native.kernels.cache_clear()


def learner(variant: str, folder: object, *bindings: str) -> Learner:
    return Learner(build(config.resolve(VARIANTS[variant], quick_runs.bindings(folder, 20, bindings))))  # type: ignore[arg-type]


def trained(variant: str, folder: object) -> LanguageModel:
    """Enough to prefer some bytes to others by more than rounding."""
    one = learner(variant, folder)
    for _ in range(20):
        one.step()
    return one.model.eval()


def in_float64(one: Learner) -> Learner:
    """The same run in float64, which takes torch's operations; dropout drops the same places."""
    one.model.double()
    one.state = one.model.initial_state(one.batches.count)
    return one


@pytest.mark.slow
@pytest.mark.parametrize("variant", sampled(VARIANTS, ("sha_rnn", "several heads", "qrnn")))
def test_kernels_change_neither_the_losses_nor_the_bytes(
    variant: str, tmp_path: object, without_kernels: pytest.MonkeyPatch
) -> None:
    model = trained(variant, tmp_path)
    fast = learner(variant, tmp_path, "dropout = 0.1")
    losses = [fast.step()["loss"] for _ in range(4)]
    text = b"".join(generate(model, PROMPT, count=60, temperature=0.0))

    without_kernels.setenv("RNNLAB_NATIVE", "0")
    native.kernels.cache_clear()
    assert native.kernels() is None
    plain = learner(variant, tmp_path, "dropout = 0.1")
    others = [plain.step()["loss"] for _ in range(4)]
    exact = in_float64(learner(variant, tmp_path, "dropout = 0.1"))
    wanted = torch.tensor([exact.step()["loss"] for _ in range(4)], dtype=torch.float64)
    rounding.check_no_worse(torch.tensor(losses), than=torch.tensor(others), exact=wanted)
    assert b"".join(generate(model, PROMPT, count=60, temperature=0.0)) == text


@pytest.mark.slow
@pytest.mark.parametrize("variant", sampled(VARIANTS, ("sha_rnn", "several heads", "qrnn")))
def test_a_stream_in_place_writes_what_copied_states_write(
    variant: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained(variant, tmp_path)
    text = b"".join(generate(model, PROMPT, count=60, temperature=0.8, seed=3))
    monkeypatch.setattr(generation, "in_place", lambda part, state: state)
    assert b"".join(generate(model, PROMPT, count=60, temperature=0.8, seed=3)) == text


def test_only_the_part_that_offers_it_keeps_its_state_in_place(tmp_path: object) -> None:
    model = learner("sha_rnn", tmp_path).model
    state = model.initial_state(2)
    streamed = in_place(model, state)
    assert [type(block.attention).__name__ for block in streamed] == [
        "NoneType",
        "NoneType",
        "InPlaceState",
        "NoneType",
    ]
    assert all(streamed[i].core.h is state[i].core.h for i in range(4))


def test_a_model_of_ones_own_streams_as_it_is() -> None:
    class Own(nn.Module):
        pass

    state = (torch.zeros(1, 2), None)
    assert in_place(Own(), state) is state

"""cuDNN takes the weights of a recurrent layer in one piece of memory; apart, it warns and copies them at every call.

torch lays them so on a GPU alone. Here the same is done on the CPU, at every call of `flatten_parameters`.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rnnlab import api, config
from rnnlab.generation import generate
from rnnlab.model import LanguageModel, fold
from rnnlab.training import experiment
from rnnlab.training.learner import Learner
from tests.rnnlab import tiny_runs

TORCHS_OWN = nn.RNNBase.flatten_parameters
CORES = ["core/lstm", "core/gru"]
FEW = ["LanguageModel.dim = 12", "memory = 40", "Trainer.steps = 3", "Trainer.batch_size = 2", "Trainer.bptt = 8"]


def lay_flat(layer: nn.RNNBase) -> None:
    """What `_cudnn_rnn_flatten_weight` does: every weight becomes a view of one buffer."""
    weights = [weight for weight in layer._flat_weights if isinstance(weight, nn.Parameter)]
    if len(weights) != len(layer._flat_weights_names) or weights[0].is_meta:
        return  # being built
    buffer = torch.cat([weight.detach().flatten() for weight in weights])
    for weight, part in zip(weights, buffer.split([weight.numel() for weight in weights]), strict=True):
        weight.data = part.view_as(weight)


def is_flat(model: nn.Module) -> bool:
    layers = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
    assert layers
    return all(len({p.untyped_storage().data_ptr() for p in layer.parameters()}) == 1 for layer in layers)


@pytest.fixture(autouse=True)
def _flat_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", lay_flat)


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return tiny_runs.write_text(tmp_path)


def build(core: str, text: Path) -> experiment.Experiment:
    return experiment.build(config.resolve(["sha_rnn", "size/tiny", core], tiny_runs.bindings(text, *FEW)))


def test_a_copy_has_its_weights_apart(core: str, text: Path) -> None:
    """What torch does on a GPU as well: without it the other tests could not fail."""
    assert not is_flat(copy.deepcopy(build(core, text).model))


def test_a_model_that_is_built_is_flat(core: str, text: Path) -> None:
    assert is_flat(build(core, text).model)


def test_a_folded_model_is_flat_and_computes_the_same(core: str, text: Path) -> None:
    model = build(core, text).model.eval()
    folded = fold(model)
    assert is_flat(folded)
    assert is_flat(model)
    tokens = torch.randint(256, (5, 2))
    torch.testing.assert_close(folded(tokens, folded.initial_state(2))[0], model(tokens, model.initial_state(2))[0])


def test_what_generates_is_flat(core: str, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, used = build(core, text).model.eval(), []
    forward = LanguageModel.forward

    def remember(self: LanguageModel, *arguments: Any) -> Any:
        used.append(self)
        return forward(self, *arguments)

    monkeypatch.setattr(LanguageModel, "forward", remember)
    list(generate(model, b"ab", count=2))
    assert len(used) == 2
    assert all(is_flat(each) for each in used)


def test_a_run_that_trains_is_restored_and_is_loaded_stays_flat(core: str, text: Path, tmp_path: Path) -> None:
    learner = Learner(build(core, text))
    learner.step()
    learner.step()
    assert is_flat(learner.model)
    resumed = Learner(build(core, text))
    resumed.restore(learner.snapshot())
    assert is_flat(resumed.model)
    resumed.step()
    assert is_flat(resumed.model)


@pytest.mark.slow
def test_the_model_of_a_run_and_one_that_begins_with_its_weights_are_flat(
    core: str, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragments, bindings = ["sha_rnn", "size/tiny", core], tiny_runs.bindings(text, *FEW)
    api.train(fragments, bindings, run=tmp_path / "a")
    assert is_flat(api.load(tmp_path / "a").model)
    built: list[experiment.Experiment] = []
    real = experiment.build
    monkeypatch.setattr(experiment, "build", lambda *a, **k: built.append(real(*a, **k)) or built[-1])
    api.train(fragments, bindings, run=tmp_path / "b", init=tmp_path / "a")
    assert is_flat(built[-1].model)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_generation_on_a_card_warns_of_nothing(core: str, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are errors in tests, cuDNN's of weights that lie apart among them."""
    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", TORCHS_OWN)
    model = build(core, text).model.eval().cuda()
    assert len(list(generate(model, b"ab", count=3))) == 3
    assert is_flat(fold(model))
    assert not is_flat(copy.deepcopy(model))

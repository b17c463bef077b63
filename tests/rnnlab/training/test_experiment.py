"""What a configuration builds, and that its recipe learns as with the vocabulary of the text."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab import config
from rnnlab.model import LanguageModel
from rnnlab.state import detach
from rnnlab.training import experiment
from rnnlab.training.learner import Learner
from rnnlab.training.optim import Lamb
from tests.rnnlab import tiny_runs


def test_bytes_that_the_training_text_lacks_start_unlikely_where_the_recipe_says_so(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"abba" * 500)
    file = ["Trainer.source = @corpus.File", f"File.path = {str(text)!r}"]
    small = ["LanguageModel.dim = 8", "Trainer.batch_size = 2", *file]
    paper = experiment.build(config.resolve(["sha_rnn"], [*small, "Trainer.bytes = 100"]))
    lacking = torch.ones(256, dtype=torch.bool)
    lacking[list(b"ab")] = False
    assert torch.equal(paper.source.unseen(), lacking)  # type: ignore[union-attr]
    assert (paper.model.output_bias[lacking] == -10.0).all()
    assert (paper.model.output_bias[~lacking] == 0.0).all()

    own = experiment.build(config.resolve(["sha_rnn", "size/tiny"], [*small, "Trainer.bytes = 100"]))
    assert (own.model.output_bias == 0.0).all()


class OverTheTextsBytes:
    """The same training of a model whose vocabulary is the bytes that occur, by LAMB's equations written out."""

    def __init__(self, model: LanguageModel, occurring: Tensor) -> None:
        self.model = copy.deepcopy(model)
        self.model.embedding.weight = nn.Parameter(model.embedding.weight.detach()[occurring])
        self.model.output_bias = nn.Parameter(model.output_bias.detach()[occurring])
        self.number = torch.zeros(256, dtype=torch.long).masked_scatter(occurring, torch.arange(int(occurring.sum())))
        self.parameters = dict(self.model.named_parameters())
        self.moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in self.parameters.items()}
        self.state = self.model.initial_state(4)

    def step(self, inputs: Tensor, targets: Tensor, lr: float) -> float:
        """The loss [nats] before it; `self.trust` then has the trust of every parameter."""
        logits, state = self.model(self.number[inputs], self.state)
        loss = F.cross_entropy(logits.flatten(0, 1), self.number[targets].flatten())
        self.state = detach(state)
        self.model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.trust = {name: self.update(p, *self.moments[name], lr) for name, p in self.parameters.items()}
        return loss.item()

    @torch.no_grad()
    def update(self, p: nn.Parameter, mean: Tensor, square: Tensor, lr: float) -> float:
        assert p.grad is not None
        mean.lerp_(p.grad, 0.1)
        square.lerp_(p.grad**2, 0.001)
        step = mean / (square.sqrt() + 1e-6)
        trust = min(p.norm().item(), 10.0) / step.norm().item() if p.any() else 1.0
        p -= lr * trust * step
        return trust


def trust_of(optimizer: torch.optim.Optimizer, before: Tensor, p: nn.Parameter, lr: float) -> float:
    """How far a parameter went, in multiples of its rate and step."""
    moments = optimizer.state[p]
    step = moments["exp_avg"] / (moments["exp_avg_sq"].sqrt() + 1e-6)
    most = step.abs().argmax()
    return ((before - p.detach()).flatten()[most] / (lr * step.flatten()[most])).item()


@pytest.mark.slow
def test_the_recipe_trains_a_model_of_256_bytes_as_one_of_the_bytes_that_occur(tmp_path: Path) -> None:
    # so low that the other bytes have no probability in float64: the two have to agree to its last digits
    recipe = [
        "Trainer.optimizer = @optimizer.Lamb", "Lamb.min_trust = 0.0", "Lamb.weight_decay = 0.0", "Trainer.clip = None",
        "Trainer.schedule = @schedule.Constant", "Trainer.unseen_logit = -60.0", "LanguageModel.init_std = 0.1",
        "LanguageModel.blocks = [@sha/Block]", "dropout = 0.0", "Trainer.bptt = 12",
    ]  # fmt: skip
    built = tiny_runs.build(tiny_runs.write_text(tmp_path), *recipe)
    built.model.double()
    assert built.source is not None
    reference, learner = OverTheTextsBytes(built.model, ~built.source.unseen()), Learner(built)
    for _ in range(40):
        inputs, targets = learner.batches.chunk(*learner.chunks()[0][1:])
        before = {name: p.detach().clone() for name, p in learner.model.named_parameters()}
        record = learner.step()
        loss = reference.step(inputs, targets, record["lr"])
        assert record["loss"] == pytest.approx(loss, rel=1e-6), "it is added up in fp32"
        for name, p in learner.model.named_parameters():
            trust = trust_of(learner.optimizer, before[name], p, record["lr"])
            assert trust == pytest.approx(reference.trust[name], rel=1e-8), f"{name} at step {record['step']}"


def test_where_every_byte_occurs_or_the_recipe_asks_for_nothing_every_row_is_measured(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(bytes(range(256)) * 50)
    lamb, low = "Trainer.optimizer = @optimizer.Lamb", "Trainer.unseen_logit = -10.0"
    for built in (tiny_runs.build(text, lamb, low), tiny_runs.build(tiny_runs.write_text(tmp_path), lamb)):
        assert isinstance(built.optimizer, Lamb)
        assert not built.optimizer._measured


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD", "Muon"])
def test_an_optimizer_that_measures_no_parameter_takes_the_recipe_as_well(optimizer: str, tmp_path: Path) -> None:
    chosen = f"Trainer.optimizer = @optimizer.{optimizer}"
    built = tiny_runs.build(tiny_runs.write_text(tmp_path), chosen, "Trainer.unseen_logit = -10.0")
    assert (built.model.output_bias == -10.0).any()
    Learner(built).step()

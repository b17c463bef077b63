"""Dynamic evaluation: its equations, and what it leaves behind."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnlab import api
from rnnlab.data.memory_text import MemoryText
from rnnlab.errors import ConfigError
from rnnlab.evaluation import evaluate, examine
from rnnlab.model import LanguageModel
from rnnlab.scoring.dynamic import Dynamic, DynamicForecaster, mean_squares
from rnnlab.scoring.losses import cross_entropy
from rnnlab.scoring.order import ScoreFirst
from rnnlab.state import detach
from rnnlab.testing.small import Leaky

TEXT = MemoryText.of("text", bytes((7 * i * i + i) % 11 for i in range(62)))


def small() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(6, [Leaky], vocabulary=11, init_std=0.4).double()


def by_hand(rule: Dynamic, squares: dict[str, torch.Tensor]) -> float:
    """The mean score [nats], with the equations as the paper has them, written out weight by weight."""
    model = small()
    trained = {name: p.detach().clone() for name, p in model.named_parameters()}
    roots = {name: square.sqrt() for name, square in squares.items()}
    mean = sum(float(root.sum()) for root in roots.values()) / sum(root.numel() for root in roots.values())
    columns = TEXT.columns(2)
    tokens = torch.from_numpy(columns.tokens.T.astype("int64"))
    state: Any = model.initial_state(2)
    total = 0.0
    for start in range(0, 30, rule.bptt):
        stop = min(start + rule.bptt, 30)
        logits, state = model(tokens[start:stop], state)
        loss = cross_entropy(logits, tokens[start + 1 : stop + 1])
        total += float(loss.detach()) * (stop - start) * 2
        model.zero_grad()
        loss.backward()
        state = detach(state)
        with torch.no_grad():
            for name, p in model.named_parameters():
                if rule.rule == "sgd":
                    p -= rule.rate * p.grad
                    p += rule.decay * (trained[name] - p)
                else:
                    p -= rule.rate * p.grad / (roots[name] + rule.epsilon)
                    p += torch.clamp(rule.decay * roots[name] / mean, max=1.0) * (trained[name] - p)
    return total / 60


@pytest.mark.parametrize(
    "rule",
    [
        Dynamic(rule="sgd", rate=0.2, bptt=7),
        Dynamic(rule="sgd", rate=0.2, decay=0.1, bptt=7),
        Dynamic(rate=0.02, decay=0.3, epsilon=1e-3, bptt=4),
        Dynamic(rate=0.02, epsilon=1e-3, bptt=30),
    ],
    ids=["sgd", "sgd decays", "rms", "rms in one chunk"],
)
def test_it_is_the_equations_of_the_paper(rule: Dynamic) -> None:
    model = small()
    (part,) = TEXT.parts(2, None, torch.device("cpu"))
    squares = mean_squares(model, part, 10)
    score = examine(ScoreFirst(DynamicForecaster(model, rule, squares)), TEXT, batch_size=2, bptt=rule.bptt)
    assert score.nats == pytest.approx(by_hand(rule, squares), rel=1e-12)
    assert score.protocol.dynamic == DynamicForecaster(model, rule, squares).told()


def test_the_statistics_are_the_mean_square_of_each_chunks_gradient() -> None:
    model, columns = small(), TEXT.columns(2)
    (part,) = TEXT.parts(2, None, torch.device("cpu"))
    tokens = torch.from_numpy(columns.tokens.T.astype("int64"))
    want = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    state: Any = model.initial_state(2)
    for start in (0, 10, 20):
        logits, state = model(tokens[start : start + 10], state)
        model.zero_grad()
        cross_entropy(logits, tokens[start + 1 : start + 11]).backward()
        state = detach(state)
        for name, p in model.named_parameters():
            want[name] += p.grad**2 / 3
    model.zero_grad()
    got = mean_squares(model, part, 10)
    assert got.keys() == want.keys()
    for name, square in want.items():
        torch.testing.assert_close(got[name], square)


def test_the_model_is_afterwards_as_it_was() -> None:
    model = small().train()
    before = copy.deepcopy(model.state_dict())
    examine(ScoreFirst(DynamicForecaster(model, Dynamic(rule="sgd", rate=1.0))), TEXT, batch_size=2, bptt=5)
    assert model.training
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_rate_that_does_nothing_scores_what_the_model_scores() -> None:
    static = evaluate(small(), TEXT, batch_size=2, bptt=5)
    order = ScoreFirst(DynamicForecaster(small(), Dynamic(rule="sgd", rate=1e-300)))
    assert examine(order, TEXT, batch_size=2, bptt=5).nats == static.nats
    assert static.protocol.dynamic is None
    assert "dynamic" not in static.protocol.told()


@pytest.mark.parametrize(
    "argument", [{"rate": 0.0}, {"rate": math.inf}, {"decay": 1.5}, {"epsilon": 0.0}, {"bptt": 1}, {"statistics": 0}]
)
def test_what_cannot_be_is_refused(argument: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"Dynamic.{next(iter(argument))}"):
        Dynamic(**argument)


@pytest.mark.long
def test_a_run_is_scored_so_beside_the_static_figure(whole: Path) -> None:
    bound = ["Dynamic.rate = 1e-3", "Dynamic.statistics = 500"]
    static = api.evaluate(whole, "valid")
    assert api.evaluate(whole, "valid", dynamic=True, overrides=bound).bpc < static.bpc - 0.02
    assert api.evaluate(whole, "valid") == static
    with pytest.raises(ConfigError, match="ask for dynamic evaluation"):
        api.evaluate(whole, "valid", overrides=bound)

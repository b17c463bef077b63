"""Watching a step gives every stretch of it to a part, and changes nothing."""

from pathlib import Path

import pytest
import torch

from rnnlab import config
from rnnlab.speed.bench import steady_learner
from rnnlab.speed.timeline import split
from rnnlab.training.experiment import build
from rnnlab.training.learner import Learner
from tests.rnnlab import quick_runs

TINY = ["sha_rnn", "size/tiny"]


@pytest.fixture
def bindings(tmp_path: Path) -> list[str]:
    return quick_runs.bindings(tmp_path)


def test_watching_a_step_changes_none_of_its_bits(bindings: list[str]) -> None:
    watched, alone = (Learner(build(config.resolve(TINY, [*bindings, "dropout = 0.1"]))) for _ in range(2))
    split(watched, lambda: 0.0, repeats=2)
    alone.step()
    alone.step()
    for name, tensor in alone.model.state_dict().items():
        assert torch.equal(tensor, watched.model.state_dict()[name]), name


def test_time_goes_to_the_part_that_spends_it(bindings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    learner = steady_learner(TINY, bindings)

    def late(*arguments: object) -> None:
        nonlocal now
        now += 1.0

    for block in learner.model.blocks:
        block.core.register_forward_hook(late)  # type: ignore[union-attr]
    seconds = split(learner, lambda: now, repeats=1)
    assert seconds["core"].median == 4.0
    assert sum(spread.median for spread in seconds.values()) == 4.0

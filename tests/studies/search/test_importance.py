"""Importance where it can be told, and a reason where it cannot."""

from typing import Any

import optuna
import pytest
from optuna.samplers import RandomSampler

from rnnlab.studies.search.database import silence_optuna
from rnnlab.studies.search.importance import FEWEST, Importance, importance
from rnnlab.studies.search.space import Space

silence_optuna()

SPACE: dict[str, Any] = {
    "rate": {"type": "float", "low": 0.0, "high": 1.0},
    "idle": {"type": "float", "low": 0.0, "high": 1.0},
    "Block.core": {"type": "categorical", "choices": ["@core.LSTM", "@core.QRNN"]},
    "QRNN.width": {"type": "int", "low": 1, "high": 2, "when": {"Block.core": "@core.QRNN"}},
}


def found_by(count: int, space: dict[str, Any], queued: Any = None, direction: str = "minimize") -> Importance:
    """Of a search in which `rate` is all that matters."""
    study = optuna.create_study(sampler=RandomSampler(seed=3), direction=direction)
    read = Space.read(space)
    for _ in range(count):
        if queued is not None:
            study.enqueue_trial(queued)
    study.optimize(lambda trial: (read.suggest(trial)["rate"] - 0.3) ** 2, n_trials=count)
    return importance(study, read.entries)


def test_what_matters_has_the_largest_share() -> None:
    found = found_by(40, {key: SPACE[key] for key in ("rate", "idle")})
    assert list(found.shares) == ["rate", "idle"]
    assert found.shares["rate"] > 0.7
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert found.missing == {}


def test_few_trials_say_nothing_of_importance_and_why() -> None:
    found = found_by(FEWEST - 1, {key: SPACE[key] for key in ("rate", "idle")})
    assert found.shares == {}
    assert found.lines() == ["no importance of rate, idle: 9 complete trials have it, and 10 are needed"]
    assert set(found_by(FEWEST, {key: SPACE[key] for key in ("rate", "idle")}).shares) == {"rate", "idle"}


def test_a_choice_that_was_never_tried_has_no_importance() -> None:
    found = found_by(20, {key: SPACE[key] for key in ("rate", "Block.core")}, queued={"Block.core": "@core.LSTM"})
    assert set(found.shares) == {"rate"}
    assert found.missing == {"Block.core": "nothing but @core.LSTM was tried"}


def test_a_key_that_applied_in_few_trials_is_not_judged() -> None:
    found = found_by(14, SPACE)
    assert found.missing["QRNN.width"].endswith("complete trials have it, and 10 are needed")
    assert "rate" in found.shares

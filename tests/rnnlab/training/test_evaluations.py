"""What a run spends on evaluating: a fifth of training at most, by one protocol, or what was asked for."""

from pathlib import Path
from typing import Any

import pytest

from rnnlab import config
from rnnlab.training.evaluations import MOST_POINTS, SHARE, EvaluationPlan, plan_evaluations
from rnnlab.training.experiment import build
from tests.rnnlab.tiny_runs import journal, train, write_text


def planned(budget: int, epoch: int = 90_000_000, split: int = 5_000_000, **bound: Any) -> EvaluationPlan:
    bindings = [f"Trainer.{name} = {value!r}" for name, value in bound.items()]
    trainer = build(config.resolve(["sha_rnn"], bindings), shapes_only=True, needs_source=False).trainer
    return plan_evaluations(trainer, budget=budget, epoch=epoch, valid=split, test=split)


def scored(plan: EvaluationPlan, budget: int, split: int = 5_000_000) -> int:
    """[bytes] of a whole run."""
    points = -(-budget // plan.every)
    return points * (plan.valid or split) + (plan.test or split)


@pytest.mark.parametrize("budget", [512, 4096, 30_000, 100_000, 1_000_000, 20_000_000, 2_250_000_000])
def test_a_run_scores_no_more_than_its_share(budget: int) -> None:
    plan = planned(budget)
    assert scored(plan, budget) <= SHARE * budget
    assert plan.valid == plan.test


def test_the_papers_recipe_scores_all_of_valid_and_test_each_epoch() -> None:
    assert planned(25 * 90_000_000) == EvaluationPlan(90_000_000, None, None)


def test_a_small_budget_has_fewer_points_rather_than_points_that_say_nothing() -> None:
    points = {budget: -(-budget // planned(budget).every) for budget in (4096, 60_000, 100_000, 1_000_000)}
    assert points == {4096: 1, 60_000: 2, 100_000: 5, 1_000_000: MOST_POINTS}
    assert (planned(1_000_000).valid or 0) > 25_000


def test_what_was_asked_for_is_done() -> None:
    assert planned(4096, eval_bytes="all").valid is None
    assert planned(4096, eval_bytes=300).valid == planned(4096, eval_bytes=300).test == 300
    assert planned(4096, eval_bytes=10**9).valid is None
    assert planned(1_000_000, eval_every=50_000).every == 50_000
    assert scored(planned(1_000_000, eval_every=50_000), 1_000_000) <= SHARE * 1_000_000


@pytest.mark.long
def test_a_run_does_as_planned_and_says_what_it_cost(tmp_path: Path) -> None:
    text = write_text(tmp_path, 60_000)
    automatic = ["Trainer.eval_every = None", "Trainer.eval_bytes = None"]
    result = train(tmp_path / "run", text, "Trainer.bytes = 40000", "Trainer.steps = None", *automatic)
    points = [record["bytes_scored"] for record in journal(tmp_path / "run") if record["kind"] == "valid"]
    assert len(points) >= 1
    assert set(points) == {result["valid_protocol"]["bytes_scored"]}
    assert sum(points) + result["protocol"]["bytes_scored"] <= SHARE * result["bytes_trained"]
    assert 0 < result["seconds_evaluating"] < 0.2 * result["seconds"]


@pytest.mark.parametrize(("budget", "points"), [(1_000, 1), (200_000, 3), (2_000_000, MOST_POINTS)])
def test_a_task_is_evaluated_less_often_rather_than_in_part(budget: int, points: int) -> None:
    trainer = build(config.resolve(["sha_rnn"]), shapes_only=True, needs_source=False).trainer
    plan = plan_evaluations(trainer, budget=budget, epoch=None, valid=10_000, test=500_000, whole=True)
    assert (plan.valid, plan.test) == (None, None)
    assert -(-budget // plan.every) == points

"""The second stage by itself: simulated objectives under the pruner, the queue and the conclusions of real searches."""

from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from rnnlab.studies.search.confirm import choose_candidates, conclude, queue
from rnnlab.studies.search.database import silence_optuna
from rnnlab.studies.search.seeds import SPARED, confirmation_pruner, mean_over_seeds
from rnnlab.views.metrics import METRICS

BPC, ACCURACY = METRICS["valid_bpc"], METRICS["valid_accuracy"]
SEEDS = [2, 3, 4, 5, 6]
SHARED, OWN = 0.03, 0.015  # standard deviations: what a seed does to every candidate, and to one

silence_optuna()


def first_stage(base: float, rng: np.random.Generator, count: int = 8) -> tuple[list[FrozenTrial], dict[int, float]]:
    """(trials of a search whose trial 0 is the base, what each is truly worth)."""
    study = optuna.create_study(sampler=RandomSampler(seed=int(rng.integers(2**31))))
    worth: dict[int, float] = {}

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        worth[trial.number] = base if trial.number == 0 else 2.5 + 0.02 * x
        trial.set_user_attr("baseline", trial.number == 0)
        trial.set_user_attr("bindings", [f"x = {x}"])
        return float(worth[trial.number] + rng.normal(0.0, OWN))

    study.optimize(objective, n_trials=count)
    return study.get_trials(deepcopy=False), worth


def second_stage(
    trials: list[FrozenTrial], reach: Callable[[int, int], float], metric: Any = BPC, confirm: int = 3
) -> list[FrozenTrial]:
    """The candidates of these trials, each trained to what `reach(number, seed)` says."""
    direction = "maximize" if metric.higher_is_better else "minimize"
    second = optuna.create_study(direction=direction, pruner=confirmation_pruner(), sampler=RandomSampler(seed=0))
    many = queue(second, choose_candidates(trials, metric, confirm))

    def objective(trial: optuna.Trial) -> float:
        number = trial.suggest_int("candidate", 0, 2**31)
        return mean_over_seeds(trial, SEEDS, lambda seed: reach(number, seed), {})

    second.optimize(objective, n_trials=many)
    assert not second.get_trials(states=[TrialState.WAITING, TrialState.RUNNING])
    return second.get_trials(deepcopy=False)


def nothing_on_disk(candidate: FrozenTrial, seed: int) -> dict[str, Any]:
    return {}


def simulate(worse: float, seed: int) -> tuple[dict[str, Any], list[FrozenTrial]]:
    """(what the confirmation concludes of a search whose base is so much worse, its candidates)."""
    rng = np.random.default_rng(seed)
    trials, worth = first_stage(2.5 + worse, rng)
    shared = dict(zip(SEEDS, rng.normal(0.0, SHARED, len(SEEDS)), strict=True))
    candidates = second_stage(trials, lambda number, s: float(worth[number] + shared[s] + rng.normal(0.0, OWN)))
    return conclude(BPC, trials, candidates, nothing_on_disk).confirmed, candidates


@pytest.mark.long
@pytest.mark.parametrize("worse", [0.05, 0.1])
def test_in_each_of_200_searches_a_winner_that_is_not_the_base_has_a_difference_and_a_p(worse: float) -> None:
    pruned = 0
    for seed in range(200):
        confirmed, candidates = simulate(worse, seed)
        pruned += sum(candidate.state is TrialState.PRUNED for candidate in candidates)
        if confirmed["trial"] == 0:
            continue
        assert confirmed["difference_to"] == "trial 0"
        assert confirmed["difference"]["count"] == len(SEEDS), f"search {seed}"
        assert 0.0 < confirmed["p"] <= confirmed["p_holm"] <= 1.0, f"search {seed}"
        assert confirmed["p_flip"] >= 2 / 2 ** len(SEEDS), f"search {seed}"
    assert pruned > 50, "the others are dropped as before"


def trial(number: int, value: float | None, **attributes: Any) -> FrozenTrial:
    state = TrialState.PRUNED if value is None else TrialState.COMPLETE
    made = create_trial(state=state, value=value, user_attrs={"bindings": [f"x = {number}"], **attributes})
    made.number = number
    return made


def test_the_baseline_is_a_candidate_whatever_became_of_it_unless_nothing_could_be_built() -> None:
    others = [trial(1, 2.5), trial(2, 2.4), trial(3, 2.6)]
    diverged = trial(0, None, baseline=True, outcome="diverged")
    assert [t.number for t in choose_candidates([diverged, *others], BPC, 2)] == [2, 1, 0]
    refused = trial(0, None, baseline=True, outcome="refused: no")
    assert [t.number for t in choose_candidates([refused, *others], BPC, 2)] == [2, 1]
    best = trial(0, 2.0, baseline=True)
    assert [t.number for t in choose_candidates([best, *others], BPC, 2)] == [0, 2]
    assert [t.number for t in choose_candidates(others, ACCURACY, 2)] == [3, 1]
    assert choose_candidates([diverged], BPC, 2) == []
    assert choose_candidates([best, *others], BPC, 0) == []


def test_without_a_baseline_the_best_of_the_search_is_spared_even_if_another_finishes_first() -> None:
    trials = [trial(0, 2.6), trial(1, 2.5), trial(2, 2.7)]
    second = optuna.create_study()
    assert queue(second, choose_candidates(trials, BPC, 2)) == 2
    assert queue(second, choose_candidates([*trials, trial(3, 2.0)], BPC, 2)) == 3
    spared = {t.user_attrs["candidate"]: t.user_attrs[SPARED] for t in second.get_trials()}
    assert spared == {1: True, 0: False, 3: False}, "what was spared stays what is compared with"


def test_a_base_that_diverges_with_one_seed_is_trained_with_the_others_and_never_wins() -> None:
    trials = [trial(0, 2.6, baseline=True), trial(1, 2.5), trial(2, 2.55)]

    def reach(number: int, seed: int) -> float:
        return float("inf") if (number, seed) == (0, 4) else 2.6 - 0.05 * number + 0.001 * (seed * (number + 1) % 5)

    candidates = second_stage(trials, reach)
    base = next(c for c in candidates if c.user_attrs["candidate"] == 0)
    assert set(base.intermediate_values) == set(SEEDS)
    assert base.state is TrialState.PRUNED
    found = conclude(BPC, trials, candidates, nothing_on_disk)
    assert found.confirmed["trial"] == 2
    assert found.confirmed["difference"]["count"] == 4
    assert found.confirmed["p"] is not None
    assert any("without 4, at which the baseline diverged" in note for note in found.table.notes)


def test_a_candidate_that_is_dropped_early_is_compared_over_what_it_has_and_that_is_said() -> None:
    trials = [trial(0, 0.5, baseline=True), trial(1, 0.9), trial(2, 0.8)]
    candidates = second_stage(
        trials, lambda number, seed: (0.5, 0.9, 0.4)[number] + 0.01 * (seed * number % 3), ACCURACY
    )
    dropped = next(c for c in candidates if c.user_attrs["candidate"] == 2)
    assert len(dropped.intermediate_values) < len(SEEDS)
    notes = " ".join(conclude(ACCURACY, trials, candidates, nothing_on_disk).table.notes)
    assert "trial 2: dropped early for falling behind, so what is shown leans to the worse." in notes
    assert "Δ accuracy of trial 2 is over seeds 2, 3" in notes

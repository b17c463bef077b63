"""What a search writes down, from trials of a task that nobody trained: the highest accuracy is the best."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from rnnlab import config
from rnnlab.errors import ConfigError
from rnnlab.studies import definition
from rnnlab.studies.launch.urls import file_url
from rnnlab.studies.search.confirm import enqueue_candidates
from rnnlab.studies.search.database import MOST_RETRIES, Address, open_study
from rnnlab.studies.search.doubts import doubts
from rnnlab.studies.search.objective import run_candidate
from rnnlab.studies.search.plan import Search, SearchPlan, create_or_resume
from rnnlab.studies.search.points import DATABASE
from rnnlab.studies.search.report import write_report

SPACE = {"dropout": {"type": "float", "low": 0.0, "high": 0.5}}
REACHED = [0.5, 0.9, 0.7, 0.95]  # by number of the trial; the first is the baseline
FRESH = {2: [0.90, 0.92, 0.94], 1: [0.80, 0.82, 0.85]}  # over fresh seeds the second of the search is the better


def plan_of(folder: Path, metric: str | None = None, confirm: int = 2) -> SearchPlan:
    search = Search(base=["sha_rnn", "size/tiny"], space=SPACE, steps=40, metric=metric, confirm=confirm)
    base = config.resolve(search.base, ["Trainer.source = @task.Parity", "Trainer.steps = 40"])
    base = base.override(["Trainer.eval_every = 100"])
    return SearchPlan(search, folder, base, Address(file_url(folder / DATABASE), "parity", 10), "sha")


def searched(folder: Path, metric: str | None = None, confirm: int = 2, costs: bool = False) -> SearchPlan:
    """A study with finished trials, as its workers leave it; odd ones cost twice as much, if costs are known."""
    plan = plan_of(folder, metric, confirm)
    create_or_resume(plan)
    with open_study(plan.address) as study:
        for number, reached in enumerate(REACHED):
            trial = study.optuna.ask(plan_space(plan))
            if number:
                trial.set_user_attr("bindings", [f"dropout = {trial.params['dropout']}"])
            else:
                trial.set_user_attr("bindings", ["dropout = 0.0"])
            if costs:
                trial.set_user_attr("macs_per_byte", 100 * (1 + number % 2))
                trial.set_user_attr("state_floats", 1000 * (4 - number))
            trial.report(reached, 100)
            study.optuna.tell(trial, reached)
        lost = study.optuna.ask(plan_space(plan))
        lost.set_user_attr("bindings", ["dropout = 0.4"])
        lost.set_user_attr("outcome", "diverged")
        lost.report(-float("inf"), 100)
        study.optuna.tell(lost, state=TrialState.PRUNED)
    return plan


def plan_space(plan: SearchPlan) -> dict[str, optuna.distributions.BaseDistribution]:
    return {entry.key: entry.distribution for entry in plan.space.entries}


def confirm(plan: SearchPlan, fresh: dict[int, list[float]]) -> list[int]:
    """Train the candidates in name only; their trials of the first stage, the best first."""
    enqueue_candidates(plan)
    order = []
    with open_study(plan.confirmation) as second:
        for _ in range(len(second.trials())):
            trial = second.optuna.ask()
            number = trial.suggest_int("candidate", 0, 2**31)
            order.append(number)
            values = fresh.get(number, [0.5, 0.51, 0.49])
            for seed, value in zip(plan.fresh_seeds(), values, strict=False):
                trial.report(value, seed)
            second.optuna.tell(trial, sum(values) / len(values))
    return order


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")  # trials that nobody optimizes
def test_the_best_of_a_search_for_accuracy_is_the_highest(tmp_path: Path) -> None:
    plan = searched(tmp_path / "study")
    facts, said = write_report(plan)
    assert facts["best"]["trial"] == 3
    assert facts["best"]["valid_accuracy"] == 0.95
    assert "highest in the search: trial 3, valid accuracy 0.9500 with seed 1" in said
    rows = list(csv.DictReader((plan.folder / "trials.csv").read_text().splitlines()))
    assert [row["trial"] for row in rows] == ["3", "1", "2", "0", "4"], "the highest first, what diverged last"
    assert rows[-1]["valid_accuracy"] == ""
    assert "# Valid accuracy 0.9500 in the search" in (plan.folder / "best.gin").read_text()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")
def test_a_candidate_that_was_tried_too_often_is_left_out_and_the_report_says_so(tmp_path: Path) -> None:
    plan = searched(tmp_path / "study")
    enqueue_candidates(plan)
    with open_study(plan.confirmation) as second:
        for state in (TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE):
            trial = second.optuna.ask()
            for seed, value in zip(plan.fresh_seeds(), [0.5, 0.51, 0.49], strict=False):
                trial.report(value, seed)
            second.optuna.tell(trial, 0.5 if state is TrialState.COMPLETE else None, state)
        failed = 0
        for _ in range(MOST_RETRIES):
            second.retry(failed)
            failed = second.optuna.ask().number
            second.optuna.tell(failed, state=TrialState.FAIL)
    job = {"folder": str(plan.folder), "url": plan.address.url, "study": plan.address.name}
    run_candidate({**job, "budget": enqueue_candidates(plan)}, lambda: None)
    budget = enqueue_candidates(plan)
    with open_study(plan.confirmation) as second:
        assert second.remaining(budget) == 0, "the stage has an end"
    facts, said = write_report(plan)
    assert "warning: no candidate any more, as one worker after the other has died of it: trial 3" in said
    assert facts["confirmed"]["trial"] in (0, 1)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")
def test_the_candidates_are_the_highest_and_so_is_what_is_confirmed(tmp_path: Path) -> None:
    plan = searched(tmp_path / "study", confirm=3)
    assert confirm(plan, FRESH) == [3, 1, 2, 0], "the best first, and the baseline"
    facts, said = write_report(plan)
    assert facts["confirmed"]["trial"] == 2
    assert facts["confirmed"]["valid_accuracy"]["mean"] == pytest.approx(0.92)
    assert facts["confirmed"]["difference_to"] == "trial 0"
    assert "highest over 3 fresh seeds: trial 2, valid accuracy 0.9200" in said
    assert "(+0.4200" in said, "how far that is from the base"
    assert facts["confirmed"]["p_flip"] == 0.25, "which is the least that three seeds can reach"
    assert "# Over 3 fresh seeds: 0.9200" in (plan.folder / "best.gin").read_text()
    table = json.loads((plan.folder / "confirm.json").read_text())
    assert table["title"].endswith("the base: valid accuracy")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")
def test_a_report_says_what_is_doubtful_and_why_there_is_no_importance(tmp_path: Path) -> None:
    plan = searched(tmp_path / "study")
    facts, said = write_report(plan)
    assert facts["importance"] == {}
    assert "no importance of dropout: 4 complete trials have it, and 10 are needed" in said
    (line,) = facts["warnings"]
    assert line.startswith(
        "TPE never began, so this is a random search of 5 trials: it begins once Search.startup = 10"
    )
    assert f"warning: {line}" in said
    assert f"Warning: {line}." in json.loads((plan.folder / "trials.json").read_text())["notes"]
    assert not (plan.folder / "plots" / "importance.png").exists()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")
def test_a_report_has_the_tuning_curve_and_the_front_of_what_it_costs(tmp_path: Path) -> None:
    plan = searched(tmp_path / "study")
    facts, _ = write_report(plan)
    rows = json.loads((plan.folder / "tuning_curve.json").read_text())["rows"]
    assert facts["tuning_curve"] == rows
    # four that are complete and one that diverged, which counts as the worst of them: 0.5
    assert rows[0]["valid_accuracy"] == pytest.approx((0.5 + 0.9 + 0.7 + 0.95 + 0.5) / 5)
    assert (plan.folder / "plots" / "tuning_curve.png").stat().st_size > 5_000
    assert facts["pareto"] == [], "no trial knows its cost"
    plan = searched(tmp_path / "costs", costs=True)
    facts, _ = write_report(plan)
    assert [(p["trial"], p["macs_per_byte"]) for p in facts["pareto"]] == [(2, 100.0), (3, 200.0)]
    assert [(p["trial"], p["state_floats"]) for p in facts["pareto_state"]] == [(3, 1000.0)]
    for name in ("pareto", "pareto_state"):
        assert (plan.folder / "plots" / f"{name}.png").stat().st_size > 5_000
    assert {row["macs_per_byte"] for row in csv.DictReader((plan.folder / "trials.csv").read_text().splitlines())} == {
        "100",
        "200",
        "",
    }


def test_a_choice_that_was_never_drawn_is_told_and_a_tpe_that_began_is_not(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    cores = {"type": "categorical", "choices": ["@core.LSTM", "@core.QRNN", "@core.GRU"]}
    plan = replace(plan, search=replace(plan.search, space={"Block.core": cores}, startup=3))
    entry = plan.space.entries[0]
    made = [
        optuna.trial.create_trial(
            value=0.5, params={"Block.core": name}, distributions={"Block.core": entry.distribution}
        )
        for name in ("@core.LSTM", "@core.LSTM", "@core.QRNN", "@core.LSTM")
    ]
    (line,) = doubts(plan, made)
    assert line.startswith("Block.core was never @core.GRU: ")
    began = doubts(plan, made[:3])
    assert began[0].startswith("TPE never began, so this is a random search of 3 trials")
    assert doubts(replace(plan, search=replace(plan.search, sampler="random")), made[:3]) == began[1:]


@pytest.mark.long
def test_a_search_for_nats_looks_for_the_lowest_and_cannot_become_one_for_accuracy(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "study", "valid_nats")
    create_or_resume(plan)
    assert definition.read(plan.folder / definition.STUDY, Search).metric == "valid_nats"
    with open_study(plan.address) as study:
        assert study.optuna.direction is optuna.study.StudyDirection.MINIMIZE
    with pytest.raises(ConfigError, match=r"Search.metric was 'valid_nats' .* and is 'valid_accuracy' now"):
        create_or_resume(plan_of(tmp_path / "study"))


@pytest.mark.slow
def test_a_search_begun_before_there_were_other_metrics_goes_on(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "study", "valid_nats")
    create_or_resume(plan)
    with open_study(plan.address) as study:
        settings = dict(study.optuna.user_attrs["settings"])
        del settings["metric"]
        study.optuna.set_user_attr("settings", settings)
    with pytest.raises(ConfigError, match=r"Search.metric was 'valid_bpc' when the study began"):
        create_or_resume(plan)

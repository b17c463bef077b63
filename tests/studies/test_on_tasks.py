"""Studies whose runs train on a task: the same commands, with accuracy in the place of BPC."""

import json
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from rnnlab import cli
from rnnlab.storage import metrics
from rnnlab.studies.search.plan import plan_search
from rnnlab.studies.search.report import write_report
from tests.rnnlab.small_tasks import BINDINGS
from tests.studies.small_studies import expect_exactly, search_in, small_ablation, trials_of, write_study

ON_PARITY: dict[str, Any] = {
    "overrides": [line for line in BINDINGS if not line.startswith("Trainer.steps")],
    "bytes": None,
    "steps": 12,
}
QRNN = {"qrnn": ["core/qrnn"]}


@pytest.mark.slow
def test_an_ablation_compares_accuracy_at_one_length_after_equal_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study(tmp_path, "Ablation", **ON_PARITY, deltas=QRNN, metric="test_accuracy@20", seeds=2)
    assert cli.main(["ablate", str(path), "--workers", "2", "--run", str(tmp_path / "study"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    table = facts["tables"]["ablation"]
    assert table["title"] == "Ablation against baseline: test accuracy at 20"
    results = {
        name: [
            json.loads(found.read_text())
            for found in sorted((tmp_path / "study" / "cells" / name).glob("*/result.json"))
        ]
        for name in ("baseline", "qrnn")
    }
    for row in table["rows"]:
        own = results[row["variant"]]
        at_20 = [one["test_by"][1]["accuracy"] for one in own]
        assert row["test_accuracy@20"]["mean"] == pytest.approx(sum(at_20) / 2)
        assert row["chance"] == 0.5
        assert [one["steps"] for one in own] == [12, 12]
    at_length = {row["variant"]: row for row in facts["tables"]["by_length"]["rows"]}
    assert at_length["qrnn"]["length_20"]["mean"] == pytest.approx(table["rows"][1]["test_accuracy@20"]["mean"])
    assert all((tmp_path / "study" / f"by_length.{ending}").stat().st_size for ending in ("png", "svg", "tex", "csv"))
    read = {name: sorted(one["bytes_trained"] for one in own) for name, own in results.items()}
    assert read["baseline"] == read["qrnn"], "equal steps with the same seed read equal positions"
    assert table["notes"][-1].startswith("Test accuracy at 20 over 24 answers of 24 examples a run, with memory 6. ")


def test_two_tasks_that_differ_in_an_argument_are_told_apart_by_their_hashes(tmp_path: Path) -> None:
    longer = {"longer": ["Parity.longest = 14"]}
    baseline, variant = small_ablation(tmp_path, **ON_PARITY, deltas=longer).variants
    assert len(baseline.corpus_sha) == 64
    assert baseline.corpus_sha != variant.corpus_sha


@pytest.mark.long
def test_a_search_maximizes_accuracy_prunes_reports_and_confirms(tmp_path: Path) -> None:
    arguments = {**ON_PARITY, "pruner": "median", "pruner_startup": 1, "warmup": 0.0, "confirm": 1, "confirm_seeds": 2}
    plan = search_in(tmp_path, workers=2, trials=5, **arguments)
    expect_exactly(plan, 5)
    complete = trials_of(plan, TrialState.COMPLETE)
    facts, _ = write_report(plan)
    best = max(complete, key=lambda trial: (trial.value or 0.0, -trial.number))
    assert facts["best"]["trial"] == best.number
    assert facts["confirmed"]["valid_accuracy"]["mean"] > 0.3
    for trial in trials_of(plan):
        folder = plan.folder / "trials" / f"trial-{trial.number:04d}"
        records = [record for record in metrics.read(folder / "metrics.jsonl") if record["kind"] == "valid"]
        reported: dict[int, float] = {}
        for record in records:  # the last may fall short of the next multiple: the budget is about so many positions
            reported.setdefault(record["bytes"] // plan.evaluate_every * plan.evaluate_every, record["valid_accuracy"])
        assert trial.intermediate_values == reported
        assert len(records) >= 3 or trial.state is TrialState.PRUNED
    last = json.loads((plan.folder / "trials" / f"trial-{best.number:04d}" / "result.json").read_text())
    assert last["valid_accuracy"] == best.value
    assert abs(plan.budget / last["bytes_trained"] - 1) < 0.3, "what the steps come to was about right"


@pytest.mark.long
def test_a_search_for_the_lowest_nats_of_a_task_finds_the_lowest(tmp_path: Path) -> None:
    plan = search_in(tmp_path, workers=2, trials=3, **ON_PARITY, metric="valid_nats")
    facts, said = write_report(plan)
    assert facts["best"]["valid_nats"] == min(trial.value or 9.0 for trial in trials_of(plan, TrialState.COMPLETE))
    assert "lowest in the search" in said
    assert plan_search(str(tmp_path / "study.gin"), run=plan.folder).metric.key == "valid_nats"


@pytest.mark.long
def test_a_trial_on_a_task_that_diverged_is_the_worst_there_is(tmp_path: Path) -> None:
    space = {"LanguageModel.init_std": {"type": "categorical", "choices": [1e30]}}
    plan = search_in(tmp_path, trials=1, **{**ON_PARITY, "space": space, "baseline": False})
    (trial,) = trials_of(plan)
    assert trial.user_attrs["outcome"] == "diverged"
    assert trial.value == -float("inf")
    assert "valid_accuracy" not in (plan.folder / "study.gin").read_text(), "the metric of a task goes without saying"

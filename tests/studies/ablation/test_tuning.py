"""Equal tuning: each variant at its own best of one grid, chosen on valid with seeds that are not compared."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnlab import cli
from rnnlab.config import Config, diff
from rnnlab.errors import ConfigError
from rnnlab.storage.cells import read_cells
from rnnlab.studies.ablation.ahead import forecast_ablation
from rnnlab.studies.ablation.cells import PlannedVariant
from rnnlab.studies.ablation.driver import run_ablation
from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.study import MOST_CELLS
from rnnlab.studies.ablation.tuning import best, edges, settings, tuning_seeds
from rnnlab.studies.status import status
from rnnlab.views.metrics import METRICS
from rnnlab.views.runs import find_runs
from tests.processes import begin
from tests.rnnlab.cli.commands import answer
from tests.rnnlab.small_tasks import BINDINGS
from tests.studies.small_studies import DROPPED, small_ablation, wait_until, write_study

RATES = {"Muon.lr": [1e-3, 1e-2]}
ON_PARITY: dict[str, Any] = {
    "overrides": [line for line in BINDINGS if not line.startswith("Trainer.steps")],
    "bytes": None,
    "steps": 3,
}


def candidate(text: str, plan: AblationPlan) -> PlannedVariant:
    """The baseline at another learning rate."""
    return next(one for one in plan.candidates["baseline"] if text in one.shown_setting)


def test_a_grid_is_every_combination_of_its_values() -> None:
    grid = {"a": [1, 2], "b": ["x", "y"]}
    assert list(settings(grid)) == [
        (("a", 1), ("b", "x")),
        (("a", 1), ("b", "y")),
        (("a", 2), ("b", "x")),
        (("a", 2), ("b", "y")),
    ]


def test_every_variant_has_every_setting_and_nothing_else_is_changed(tmp_path: Path) -> None:
    tune = {"Muon.lr": [1e-3, 1e-2], "Trainer.clip": [0.25, None]}
    plan = small_ablation(tmp_path, tune=tune, tune_seeds=2)
    assert set(plan.candidates) == {"baseline", "dropped"}
    for variant in plan.variants:
        found = [{d.key for d in diff(variant.config, one.config)} for one in plan.candidates[variant.name]]
        assert len(found) == 4
        assert set().union(*found) == {"optimizer.Muon.lr", "Trainer.clip"}
    assert plan.candidates["dropped"][0].shown_setting == ("Muon.lr = 0.001", "Trainer.clip = 0.25")
    assert len(plan.tuning_cells()) == 2 * 4 * 2
    assert len({cell.folder for cell in plan.tuning_cells()}) == 16
    assert all(cell.folder.relative_to(plan.folder).parts[0] == "tuning" for cell in plan.tuning_cells())
    assert plan.tuned() is None, "as long as nothing is trained, nothing is chosen"


@pytest.mark.parametrize(
    ("arguments", "whole", "part"), [({}, (640, None), (160, None)), (ON_PARITY, (None, 3), (None, 1))]
)
def test_runs_of_tuning_may_have_a_part_of_the_budget(
    arguments: dict[str, Any], whole: tuple[int | None, int | None], part: tuple[int | None, int | None], tmp_path: Path
) -> None:
    plan = small_ablation(tmp_path, **arguments, tune={"Trainer.clip": [0.25, None]}, tune_fraction=0.25)

    def budget(config: Config) -> tuple[int | None, int | None]:
        return config.value("Trainer.bytes"), config.value("Trainer.steps")

    assert {budget(variant.config) for variant in plan.variants} == {whole}
    assert {budget(cell.variant.config) for cell in plan.tuning_cells()} == {part}


def test_a_seed_of_tuning_is_never_compared_however_many_seeds_are_added_later() -> None:
    for first in (1, 7, 10**9):
        assert min(tuning_seeds(first, 3)) > first + MOST_CELLS, "a study may not have so many"
        assert len(set(tuning_seeds(first, 3))) == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"tune": {"AdamW.lr": [1e-3, 1e-2]}}, "variant 'baseline': Ablation.tune['AdamW.lr']"),
        ({"tune": {"AdamW.lr": [1e-3, 1e-2]}}, "tune what every variant has, or leave this variant out"),
        ({"tune": RATES, "deltas": {"adam": ["optim/adamw"]}}, "variant 'adam': Ablation.tune['Muon.lr']"),
        ({"tune": {"Moun.lr": [1e-3, 1e-2]}}, "did you mean"),
        ({"tune": RATES, "deltas": {"fast": ["Muon.lr = 0.1"]}}, "'fast': Ablation.tune (Muon.lr) tunes optimizer"),
        ({"tune": {"dropout": [0.0, 0.1]}}, "variant 'dropped': Ablation.tune (dropout) tunes"),
        ({"tune": {"Muon.lr": [1e-3, "fast"]}}, "fast"),
        ({"tune": {}}, "name what to tune"),
        ({"tune": RATES, "tune_seeds": 0}, "with at least 1 seed"),
        ({"tune": RATES, "tune_fraction": 0.0}, "Ablation.tune_fraction = 0.0: more than 0, and at most 1"),
        ({"tune": RATES, "tune_fraction": 2}, "Ablation.tune_fraction = 2: more than 0, and at most 1"),
        ({"tune": {"Muon.lr": 1e-3}}, "a list of different values is expected"),
        ({"tune": {"Muon.lr": [1e-3, 1e-3]}}, "a list of different values is expected"),
        ({"tune": {"Muon.lr": [1e-3]}}, "two values or more"),
        ({"tune": {"Trainer.bytes": [100, 1000]}}, "decides what is trained on, how long, or how valid is scored"),
        ({"tune": {"Trainer.eval_bytes": [100, 1000]}}, "decides what is trained on"),
        ({"tune": {"Trainer.seed": [1, 2]}}, "decides what is trained on"),
        ({"tune": {"Muon.lr": [1e-3, 1e-2]}, "tune_seeds": 10**6}, "runs of tuning, more than 100,000"),
        ({"tune": {"LanguageModel.dim": [8, 12]}, "match": "parameters"}, "tune what changes no cost"),
        ({**ON_PARITY, "tune": {"Parity.longest": [14, 15]}}, "task.Parity.longest decides what is trained on"),
        ({**ON_PARITY, "tune": {"Trainer.batch_size": [2, 4]}}, "so equal steps read unequal positions"),
    ],
)  # fmt: skip
def test_a_grid_that_would_not_tune_all_variants_alike_is_refused_before_anything_runs(
    arguments: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        small_ablation(tmp_path, **arguments)
    assert told in str(caught.value)
    assert not (tmp_path / "study").exists()


def test_of_accuracies_that_are_alike_the_lower_loss_is_better_and_what_diverged_is_worst(tmp_path: Path) -> None:
    plan = small_ablation(tmp_path, tune={"Muon.lr": [1e-3, 1e-2, 1e-1]})
    low, middle, high = plan.candidates["baseline"]

    def reached(accuracy: float, nats: float, status: str = "done") -> dict[str, Any]:
        return {"status": status, "valid_accuracy": accuracy, "valid_nats": nats, "test_accuracy": 1 - accuracy}

    accuracy = METRICS["test_accuracy"]  # compared on test; chosen on valid all the same
    found = [(low, [reached(0.9, 0.1)]), (middle, [reached(1.0, 0.02)]), (high, [reached(1.0, 0.01)])]
    assert best(found, accuracy) is high
    assert best([*found[:2], (high, [reached(1.0, 0.001, "diverged")])], accuracy) is middle
    assert best([(low, [reached(0.5, 0.1)]), (middle, [reached(0.6, 0.7)])], METRICS["test_nats"]) is low
    means = [(low, [reached(0.6, 1), reached(0.8, 1)]), (middle, [reached(0.9, 1), reached(0.55, 1)])]
    assert best(means, accuracy) is middle, "the mean over the seeds of tuning decides"


def test_an_edge_is_told_of_numbers_and_of_nothing_else(tmp_path: Path) -> None:
    tune = {"Muon.lr": [1e-2, 1e-3, 1e-1], "Trainer.clip": [0.25, None]}
    plan = small_ablation(tmp_path, tune=tune)
    assert edges(candidate("Muon.lr = 0.1", plan), tune) == ["Muon.lr = 0.1, the largest"]
    assert edges(candidate("Muon.lr = 0.001", plan), tune) == ["Muon.lr = 0.001, the smallest"]
    assert edges(candidate("Muon.lr = 0.01", plan), tune) == [], "not by its place in the list"


def test_a_grid_of_factors_is_tuned_as_well(tmp_path: Path) -> None:
    deltas = {"core": {"qrnn": ["core/qrnn"]}, **DROPPED}
    plan = small_ablation(tmp_path, tune=RATES, design="grid", deltas=deltas)
    assert {name: len(found) for name, found in plan.candidates.items()} == {
        "baseline": 2,
        "dropped": 2,
        "qrnn": 2,
        "qrnn + dropped": 2,
    }


@pytest.mark.long
def test_a_study_that_tunes_compares_each_variant_at_its_best_on_valid(tmp_path: Path) -> None:
    plan = small_ablation(tmp_path, tune={"Muon.lr": [1e-4, 5e-3, 5.0]}, seeds=2, deltas={"qrnn": ["core/qrnn"]})
    facts, text = run_ablation(plan, workers=2)
    assert facts["cells"] == {"trained": 4, "kept": 0}
    by_variant: dict[str, dict[float, float]] = {}
    for cell in plan.tuning_cells():
        result = json.loads((cell.folder / "result.json").read_text())
        assert not [key for key in result if key.startswith("test")], "what is chosen by valid does not know the test"
        bpc = result["valid_bpc"] if result["status"] == "done" else float("inf")
        by_variant.setdefault(cell.variant.name, {})[dict(cell.variant.setting)["Muon.lr"]] = bpc
    rows = {row["variant"]: row for row in facts["tables"]["ablation"]["rows"]}
    tuned = plan.tuned()
    assert tuned is not None
    for variant in tuned.variants:
        rate = min(by_variant[variant.name], key=by_variant[variant.name].__getitem__)
        assert rows[variant.name]["tuned"] == f"Muon.lr = {rate}"
        assert variant.config.value("Muon.lr") == rate
        compared = list((plan.folder / "cells" / variant.name).glob("seed-*/config.gin"))
        assert len(compared) == 2
        assert all(f"optimizer.Muon.lr = {rate}\n" in path.read_text() for path in compared)
    assert rows["qrnn"]["bindings"] == ["Block.core = @core.QRNN"], "what it differs in stays as it was"
    notes = " ".join(facts["tables"]["ablation"]["notes"])
    assert "its best of 3 settings (Muon.lr), by valid BPC over 1 seed that is not compared" in notes
    assert "Tuning took 6 cells, " in notes
    assert "Not tuned" not in notes
    assert "Muon.lr = " in text
    seeds = {path.name.split("-")[1] for path in plan.folder.glob("cells/*/seed-*")}
    assert seeds.isdisjoint(path.name.split("-")[1] for path in plan.folder.glob("tuning/*/seed-*"))
    assert all("cells" in path.parts for path in find_runs(plan.folder)), "compare counts no seed that chose"
    assert len(find_runs(plan.folder / "tuning")) == 6
    assert all("test_bpc" in json.loads(path.read_text()) for path in plan.folder.glob("cells/*/*/result.json"))

    again, _ = run_ablation(small_ablation(tmp_path, tune={"Muon.lr": [1e-4, 5e-3, 5.0]}, seeds=3,
                                           deltas={"qrnn": ["core/qrnn"]}), workers=2)  # fmt: skip
    assert again["cells"] == {"trained": 2, "kept": 4}, "finished tuning is kept, and chooses what it chose"

    lines = read_cells(plan.folder / "tuning.jsonl")  # in the order in which they ended
    assert {(cell.variant, cell.seed) for _, cell in lines} == {(cell.name, cell.seed) for cell in plan.tuning_cells()}
    (tmp_path / "elsewhere").mkdir()
    elsewhere = replace(plan, folder=tmp_path / "elsewhere" / "study")
    files = [plan.folder / name for name in ("tuning.jsonl", "cells.jsonl")]
    assert forecast_ablation(elsewhere, files).done == 6 + 4
    told, _ = run_ablation(elsewhere, 2, files)
    assert told["cells"] == {"trained": 0, "kept": 4}
    assert told["tables"]["ablation"]["rows"] == facts["tables"]["ablation"]["rows"], "from lines alone"
    assert told["tables"]["ablation"]["notes"] == facts["tables"]["ablation"]["notes"]
    assert not list(elsewhere.folder.glob("*/*/seed-*"))
    standing, text = status(elsewhere.folder)
    assert standing["tuning"] == {"done": 6}
    assert "tuning: 6 of 6 runs; chosen: baseline at Muon.lr = " in text


@pytest.mark.long
def test_short_runs_choose_for_whole_ones(tmp_path: Path) -> None:
    plan = small_ablation(tmp_path, tune=RATES, tune_fraction=0.5, deltas={"qrnn": ["core/qrnn"]}, seeds=1)
    facts, _ = run_ablation(plan, workers=2)
    read = {
        stage: {json.loads(path.read_text())["bytes_trained"] for path in plan.folder.glob(f"{stage}/*/*/result.json")}
        for stage in ("tuning", "cells")
    }
    assert read == {"tuning": {320}, "cells": {640}}
    rows = facts["tables"]["ablation"]["rows"]
    assert all(row["tuned"] in ("Muon.lr = 0.001", "Muon.lr = 0.01") for row in rows)
    notes = " ".join(facts["tables"]["ablation"]["notes"])
    assert "over 1 seed that is not compared, in runs of 0.5 of the budget. Tuning took 4 cells, 1.28k bytes" in notes
    standing, text = status(plan.folder)
    assert standing["cells"]["done"] == 2, "who reads the folder finds the cells that were trained"
    assert f"chosen: baseline at {rows[0]['tuned']}" in text


@pytest.mark.long
def test_a_study_that_does_not_tune_says_so(tmp_path: Path) -> None:
    facts, text = run_ablation(small_ablation(tmp_path, seeds=1), workers=2)
    assert "Not tuned: one setting for all variants" in text
    assert all(row["tuned"] is None for row in facts["tables"]["ablation"]["rows"])
    assert "Tuned" not in text


@pytest.mark.long
def test_tuning_that_is_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Ablation", deltas=DROPPED, seeds=1, bytes=2560, tune=RATES)
    folder = tmp_path / "study"
    arguments = ("ablate", path, "--run", folder, "--workers", "1", "--json")

    def done() -> dict[Path, int]:
        found = folder.glob("tuning/*/*/result.json")
        return {one: one.stat().st_mtime_ns for one in found if '"done"' in one.read_text()}

    with begin(*arguments) as first:
        wait_until(done)
        first.signal(signal.SIGTERM)
        assert first.finish()[0] == 143
    before = done()
    assert not list(folder.glob("cells/*/seed-*")), "nothing is compared before all are tuned"
    facts = json.loads(answer(*arguments))
    assert facts["cells"] == {"trained": 2, "kept": 0}
    assert {one: time for one, time in done().items() if one in before} == before
    assert len(done()) == 4


@pytest.mark.long
def test_every_core_on_parity_gets_a_learning_rate_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "cores.gin"
    study.write_text(
        "Ablation.base = ['sha_task', 'task/parity', 'place/none']\n"
        "Ablation.baseline = 'lstm'\n"
        "Ablation.deltas = {'gru': ['core/gru'], 'qrnn': ['core/qrnn']}\n"
        "Ablation.tune = {'AdamW.lr': [1e-4, 3e-3, 1e-2]}\n"
        "Ablation.overrides = ['LanguageModel.dim = 16', 'Parity.longest = 12', 'Parity.test = [12]',\n"
        "    'TaskSplits.valid = 64', 'TaskSplits.test = 64', 'Cosine.warmup = 2']\n"
        "Ablation.steps = 30\n"
        "Ablation.seeds = 1\n"
    )
    assert cli.main(["ablate", str(study), "--workers", "2", "--run", str(tmp_path / "study"), "--json"]) == 0
    table = json.loads(capsys.readouterr().out)["tables"]["ablation"]
    chosen = {row["variant"]: row["tuned"] for row in table["rows"]}
    assert set(chosen) == {"lstm", "gru", "qrnn"}
    rates = ("AdamW.lr = 0.0001", "AdamW.lr = 0.003", "AdamW.lr = 0.01")
    assert set(chosen.values()) <= set(rates)
    at_edge = [name for name, tuned in chosen.items() if tuned in (rates[0], rates[2])]
    told = [note for note in table["notes"] if "at an edge of the grid" in note]
    assert len(told) == bool(at_edge)
    for name, tuned in chosen.items():
        end = {rates[0]: "smallest", rates[2]: "largest"}.get(tuned)
        assert (f"{name} ({tuned}, the {end})" in " ".join(told)) == (end is not None)
    assert any("by valid accuracy, then valid nats over 1 seed" in note for note in table["notes"])
    assert any("Tuning took 9 cells" in note for note in table["notes"])

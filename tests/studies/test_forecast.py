"""What a study tells before it starts."""

import json
from pathlib import Path

import pytest

from rnnlab import cli
from rnnlab.config import resolve
from rnnlab.planning.cards import Card, find_card
from rnnlab.planning.needs import planned
from rnnlab.planning.plan import plan
from rnnlab.studies import forecast as forecasts
from rnnlab.studies.ablation import seen
from rnnlab.studies.ablation.ahead import forecast_ablation
from rnnlab.studies.ablation.driver import _job, _write_definitions
from rnnlab.studies.forecast import Rate, _between, forecast
from rnnlab.studies.launch.run import train_job
from tests.studies.small_studies import small_ablation, write_study

pytestmark = pytest.mark.slow  # whole runs


def test_a_dry_run_tells_the_plan_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study(tmp_path, "Ablation", deltas={"wide": ["LanguageModel.dim = 16"]}, seeds=3)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["ablate", str(path), "--dry-run", "--json", "--workers", "2"]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    told = json.loads(capsys.readouterr().out)
    assert (told["cells"], told["done"], told["workers"]) == (6, 0, 2)
    assert told["trained"] == 6 * 640
    points = 640 * 0.3 // 5000 or 1
    assert told["scored"] >= 6 * points * 190, "valid and test, 200 bytes each as Trainer.eval_bytes says"
    assert 0 < told["seconds"] < 600
    assert 0 < told["evaluation_share"] < 1
    assert told["disk"] > 6 * 3 * 4 * 6000, "three checkpoints a run of 6,240 parameters or more"
    assert cli.main(["ablate", str(path), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "2 variants x 3 seeds\n6 cells, 0 done, 6 to train\n3,840 bytes to train on, and " in text
    assert "(from 2 steps of the baseline and of the largest)" in text


@pytest.mark.long
def test_a_study_with_planned_looks_is_planned_to_the_first_and_at_most_to_the_last_with_its_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study(
        tmp_path, "Ablation", deltas={"wide": ["LanguageModel.dim = 16"]}, seeds=3, most_seeds=5,
        tune={"Muon.lr": [1e-3, 1e-2]},
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    arguments = ["ablate", str(path), "--until", "0.01", "--dry-run", "--workers", "2"]
    assert cli.main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["cells"], told["most"]["runs"]) == (4 + 6, 4 + 10)
    assert (told["trained"], told["most"]["trained"]) == (10 * 640, 14 * 640)
    assert told["most"]["disk"] == pytest.approx(1.4 * told["disk"], rel=0.05)
    points, each = 10, 200  # evaluations, and what one scores, of valid as of the test; runs of tuning are not tested
    assert told["scored"] == (4 * points + 6 * (points + 1)) * each
    assert told["most"]["scored"] == (4 * points + 10 * (points + 1)) * each
    assert told["seconds"] < told["most"]["seconds"]
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    assert "2 variants x 3, 5 seeds, a look at each until ±0.01, and 4 cells of tuning\n" in text
    assert "10 cells, 0 done, 10 to train, at most 14 if all looks are taken\n6,400 bytes to train on, and " in text
    assert "; at most 8,960 and " in text


@pytest.mark.long
def test_what_is_done_of_a_study_that_tuned_is_counted_at_what_was_chosen(tmp_path: Path) -> None:
    plan = small_ablation(tmp_path, tune={"Muon.lr": [1e-3, 1e-2]}, seeds=3, until=1e-9, most_seeds=4, bytes=64)
    plan.folder.mkdir()
    _write_definitions(plan)
    for cell in plan.tuning_cells():
        train_job(_job(plan, cell), lambda: None)
    tuned = plan.tuned()
    assert tuned is not None
    _write_definitions(tuned)
    for cell in tuned.cells():
        train_job(_job(tuned, cell), lambda: None)
    seen.write(tuned, seen.open_plan(tuned).with_look(3, is_planned=True))
    told = forecast_ablation(plan)
    assert (told.cells, told.done, told.most) == (4 + 8, 4 + 6, None), "the second look is the last"


def test_a_search_is_planned_at_most_with_its_second_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study(tmp_path, "Search", trials=3, confirm=2, confirm_seeds=5)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["search", str(path), "--dry-run"]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    text = capsys.readouterr().out
    assert "3 trials, then 3 candidates x 5 seeds\n18 cells, 0 done, 18 to train\nat most 11,520 bytes" in text


def test_nothing_is_measured_where_nothing_is_left_or_a_step_would_take_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = small_ablation(tmp_path)

    def refuse(*given: object) -> Rate:
        raise AssertionError("steps were taken")

    monkeypatch.setattr(forecasts, "_measured", refuse)
    config = small.variants[0].config
    done = forecast("ablation", small.folder, "", [(config, 0)], 4, 1)
    assert done.text().endswith("4 cells, 4 done, 0 to train")
    monkeypatch.setattr(forecasts, "LONGEST", 1e-9)
    long = forecast_ablation(small)
    assert long.seconds is None
    assert "time: not measured, as a few steps alone would take long here" in long.text()
    assert long.disk > 0


def test_steps_that_diverge_do_not_keep_a_study_from_starting(tmp_path: Path) -> None:
    small = small_ablation(tmp_path, "LanguageModel.init_std = 1e30", seeds=1)
    told = forecast_ablation(small)
    assert told.seconds is None
    assert told.basis.startswith("not measured: ")
    assert told.cells == 2


def test_a_model_of_the_papers_size_is_too_long_to_measure_on_a_cpu() -> None:
    large = resolve(["sha_rnn"], ["Trainer.device = 'cpu'", "Trainer.bytes = 1000000"])
    assert forecasts._guess(planned(large)) > forecasts.LONGEST


@pytest.mark.long
def test_for_a_gpu_it_is_estimated_as_a_plan_does(tmp_path: Path) -> None:
    config = small_ablation(tmp_path).variants[0].config
    card = find_card("h100")
    assert isinstance(card, Card)
    rate = forecasts._estimated(planned(config), card)
    (tmp_path / "whole.gin").write_text(config.text)
    told = plan([str(tmp_path / "whole.gin")], gpu="h100")
    assert rate.training == pytest.approx(1 / told["bytes_per_second"])
    assert rate.checkpoint * told["parameters"] == pytest.approx(told["checkpoints"]["bytes"])
    assert rate.scoring * told["bytes_scored"] == pytest.approx(told["hours"]["evaluation"] * 3600)


def test_what_lies_between_two_measured_variants_is_interpolated() -> None:
    rates = {100: Rate(1.0, 0.5, 8.0), 300: Rate(3.0, 1.5, 12.0)}
    assert _between(rates, 200) == Rate(2.0, 1.0, 10.0)
    assert _between(rates, 10) == rates[100]
    assert _between(rates, 1000) == rates[300]

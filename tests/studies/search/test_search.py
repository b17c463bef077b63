"""Searches: what is checked before the first trial, what comes out after the last."""

import csv
import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from rnnlab import cli, config
from rnnlab.errors import ConfigError, DataError
from rnnlab.storage.runfolder import RunFolder
from rnnlab.studies import definition
from rnnlab.studies.search.database import open_study
from rnnlab.studies.search.driver import run_search
from rnnlab.studies.search.plan import Search, SearchPlan, create_or_resume, plan_search
from rnnlab.studies.search.report import write_report
from rnnlab.studies.search.space import literal
from rnnlab.views.runs import parse_bindings
from tests.studies.small_studies import (
    SPACE,
    expect_exactly,
    params_by_draw,
    search_in,
    trials_of,
    write_study,
)


def plan(folder: Path, *overrides: str, trials: int | None = None, **arguments: Any) -> SearchPlan:
    return plan_search(
        str(write_study(folder, "Search", **arguments)), (), overrides, trials=trials, run=folder / "study"
    )


def test_fragments_budget_and_overrides_of_the_command_line_come_on_top_of_the_study(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Search")
    made = plan_search(
        str(path), ["memory/512"], ["Search.seed = 9", "dropout = 0.3", "Trainer.bytes = 500"], trials=7, run=tmp_path
    )
    assert (made.search.trials, made.search.seed) == (7, 9)
    assert made.search.base[-1] == "memory/512"
    assert made.base.value("dropout") == 0.3
    assert made.base.value("Trainer.bytes") == 500
    assert made.evaluate_every == 125  # four evaluations


def test_a_study_is_found_by_path_and_those_that_ship_by_name(tmp_path: Path) -> None:
    shipped = definition.find("memory_dropout")
    assert definition.find("studies/memory_dropout.gin") in (shipped, Path("studies/memory_dropout.gin"))
    assert definition.find(str(write_study(tmp_path, "Search"))) == tmp_path / "study.gin"
    with pytest.raises(ConfigError, match="did you mean 'memory_dropout'"):
        definition.find("memory_dropuot")
    with pytest.raises(ConfigError, match="no study"):
        definition.find("elsewhere/memory_dropout.gin")


def test_a_study_is_written_down_so_that_it_reads_back_the_same(tmp_path: Path) -> None:
    made = plan(tmp_path, "Search.confirm = 2")
    (tmp_path / "again.gin").write_text(definition.text(made.search))
    assert definition.read(tmp_path / "again.gin", Search) == made.search


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"trials": 0}, "Search.trials = 0: at least 1"),
        ({"confirm_seeds": 0}, "Search.confirm_seeds = 0: at least 1"),
        ({"space": {}}, "Search.space = {}"),
        ({"pruner": "medain"}, "did you mean 'median'"),
        ({"bytes": None}, "--bytes N"),
        ({"base": ["sha_rnnn"]}, "did you mean 'sha_rnn'"),
        ({"space": {"SingleHead.memroy": SPACE["SingleHead.memory"]}}, "did you mean 'memory'"),
        ({"spcae": {}}, "did you mean 'space'"),
    ],
)
def test_a_search_that_cannot_run_is_refused_in_words(arguments: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(tmp_path, **arguments)
    assert told in str(caught.value)
    assert not (tmp_path / "study").exists()


def test_a_file_for_the_other_command_says_which(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Ablation", deltas={"dropped": ["dropout = 0.1"]})
    with pytest.raises(ConfigError, match="it is for `rnnlab ablate`"):
        plan_search(str(path), run=tmp_path / "study")
    (tmp_path / "empty.gin").write_text("")
    with pytest.raises(ConfigError, match="binds no Search"):
        plan_search(str(tmp_path / "empty.gin"), run=tmp_path / "study")


def test_a_corpus_that_is_not_there_is_told_before_the_first_trial(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        plan(tmp_path, "File.path = '/nowhere'")


def test_a_study_begins_with_the_base_as_its_baseline_and_is_made_once(tmp_path: Path) -> None:
    made = plan(tmp_path)
    create_or_resume(made)
    create_or_resume(made)
    with open_study(made.address) as study:
        (baseline,) = study.trials()
    assert baseline.state is TrialState.WAITING
    assert baseline.user_attrs == {"baseline": True}
    assert baseline.system_attrs["fixed_params"] == {"SingleHead.memory": 16, "dropout": 0.0}


def test_a_base_that_the_space_does_not_hold_is_no_trial_and_that_is_said(tmp_path: Path) -> None:
    made = plan(tmp_path, "memory = 100")
    create_or_resume(made)
    with open_study(made.address) as study:
        assert study.trials() == []
    assert "the space does not hold the base's SingleHead.memory = 100" in write_report(made)[1]


def test_a_changed_space_is_refused_with_the_difference(tmp_path: Path) -> None:
    create_or_resume(plan(tmp_path))
    changed = {**SPACE, "dropout": {"type": "float", "low": 0.0, "high": 0.25}}
    with pytest.raises(ConfigError, match="the space changed") as caught:
        create_or_resume(plan(tmp_path, space=changed))
    assert "dropout: " in str(caught.value)
    assert "SingleHead.memory" not in str(caught.value)


def test_a_changed_base_or_sampler_is_refused_and_more_trials_are_not(tmp_path: Path) -> None:
    create_or_resume(plan(tmp_path))
    create_or_resume(plan(tmp_path, trials=100))
    with pytest.raises(ConfigError, match=r"the base changed[^\n]*\n.*LanguageModel\.dim: 8 -> 12"):
        create_or_resume(plan(tmp_path, "LanguageModel.dim = 12"))
    with pytest.raises(ConfigError, match=r"Search\.seed was 1 .* and is 2 now"):
        create_or_resume(plan(tmp_path, "Search.seed = 2"))


def test_a_study_whose_maker_died_halfway_is_completed(tmp_path: Path) -> None:
    made = plan(tmp_path)
    made.folder.mkdir()
    optuna.create_study(study_name=made.address.name, storage=made.address.storage())
    create_or_resume(made)
    with open_study(made.address) as study:
        assert study.optuna.user_attrs["space"] == made.space.description
        assert len(study.trials()) == 1


def test_trials_of_an_unknown_study_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "study" / "trials" / "trial-0000").mkdir(parents=True)
    with pytest.raises(ConfigError, match="trials of a study that the storage does not know"):
        create_or_resume(plan(tmp_path))


@pytest.mark.parametrize("pruner", ["median", "hyperband", "none"])
def test_every_pruner_and_sampler_can_be_had(pruner: str, tmp_path: Path) -> None:
    made = plan(tmp_path, pruner=pruner)
    assert pruner[:3] in type(made.pruner()).__name__.lower() or pruner == "none"
    conditional = {
        "Block.core": {"type": "categorical", "choices": ["@core.LSTM", "@core.QRNN"]},
        "QRNN.width": {"type": "int", "low": 1, "high": 2, "when": {"Block.core": "@core.QRNN"}},
    }
    with pytest.warns(optuna.exceptions.ExperimentalWarning, match="group"):
        plan(tmp_path, space=conditional).sampler(0)


@pytest.mark.slow
def test_a_search_prunes_confirms_and_leaves_all_that_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study(tmp_path, "Search", pruner="median", pruner_startup=2, confirm=2, confirm_seeds=3, bytes=1280)
    folder = tmp_path / "study"
    code = cli.main(["search", str(path), "--trials", "8", "--workers", "2", "--run", str(folder), "--json"])
    assert code == 0
    facts = json.loads(capsys.readouterr().out)
    made = plan_search(str(path), trials=8, run=folder)
    expect_exactly(made, 8)

    assert sum(facts["trials"].values()) == 8
    assert facts["trials"]["pruned"] >= 1
    assert facts["confirmed"]["seeds"] == 3
    assert facts["confirmed"]["valid_bpc"]["low"] < facts["confirmed"]["valid_bpc"]["high"]
    assert set(facts["importance"]) <= set(SPACE)
    for name in ("history", "slice", "contour", "intermediate"):
        assert (folder / "plots" / f"{name}.png").stat().st_size > 10_000
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    assert len(rows) == 8
    assert rows[0]["outcome"].endswith("complete")
    confirmed = json.loads((folder / "confirm.json").read_text())["rows"]
    assert confirmed[0]["variant"] == "trial 0"
    assert {row["seeds"] for row in confirmed if row["variant"] == f"trial {facts['confirmed']['trial']}"} <= {3}

    for trial in trials_of(made, TrialState.PRUNED):
        result = RunFolder.open(folder / "trials" / f"trial-{trial.number:04d}").result()
        assert result is not None
        assert result["status"] == "stopped"
        assert result["bytes_trained"] < 1280

    winner = config.resolve([str(folder / "best.gin")])
    best = trials_of(made)[facts["confirmed"]["trial"]]
    assert winner.value("SingleHead.memory") == best.params["SingleHead.memory"]
    assert winner.value("dropout") == best.params["dropout"]
    assert cli.main(["train", str(folder / "best.gin"), "--run", str(tmp_path / "winner")]) == 0


@pytest.mark.long
@pytest.mark.slow
def test_a_search_that_is_stopped_and_gone_on_with_finds_what_an_uninterrupted_one_finds(tmp_path: Path) -> None:
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = search_in(tmp_path / "whole", trials=6)
    for trials in (2, 6):
        parts = search_in(tmp_path / "parts", trials=trials)
        expect_exactly(parts, trials)
    assert params_by_draw(parts) == params_by_draw(whole)
    assert [t.value for t in trials_of(parts)] == [t.value for t in trials_of(whole)]


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_forty_trials_over_four_workers_each_train_with_their_own_parameters(tmp_path: Path) -> None:
    made = search_in(tmp_path, workers=4, trials=40, startup=40, bytes=320, evaluations=1, heartbeat=10)
    expect_exactly(made, 40)
    trials = trials_of(made, TrialState.COMPLETE)
    assert len(trials) == 40
    for trial in trials:
        folder = tmp_path / "study" / "trials" / f"trial-{trial.number:04d}"
        held = parse_bindings((folder / "config.gin").read_text())
        recorded = {key: literal(value) for key, value in trial.params.items()}
        assert held["attention.SingleHead.memory"] == recorded["SingleHead.memory"]
        assert held["Block.dropout"] == recorded["dropout"]
        assert json.loads((folder / "result.json").read_text())["valid_bpc"] == trial.value
    assert len({trial.params["dropout"] for trial in trials}) == 40


@pytest.mark.slow
def test_values_that_do_not_go_together_and_runs_that_diverge_are_trials_that_say_so(tmp_path: Path) -> None:
    space = {
        "MultiHead.heads": {"type": "categorical", "choices": [1, 2]},
        "LanguageModel.dim": {"type": "categorical", "choices": [8, 9]},
    }
    made = search_in(
        tmp_path, trials=6, startup=10, space=space, base=["sha_rnn", "size/tiny", "attention/multi_head"],
        baseline=False,
    )  # fmt: skip
    expect_exactly(made, 6)
    outcomes = {
        (t.params["MultiHead.heads"], t.params["LanguageModel.dim"]): t.user_attrs["outcome"] for t in trials_of(made)
    }
    assert outcomes[2, 9].startswith("refused: ")
    assert all(outcome == "complete" for combination, outcome in outcomes.items() if combination != (2, 9))


@pytest.mark.slow
def test_a_study_whose_workers_fail_one_after_the_other_stops_with_the_reason(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Search")
    made = plan_search(str(path), run=tmp_path / "study")
    next(tmp_path.glob("text-*")).unlink()
    with pytest.raises(DataError, match=r"one after the other fails; the last: .*text-.*worker-0\.log"):
        run_search(made, workers=1)


def test_the_command_line_refuses_what_makes_no_sense(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_study(tmp_path, "Search"))
    run = ["--run", str(tmp_path / "study")]
    for arguments, told in (
        (["--workers", "0"], "--workers 0: at least one"),
        (["--trials", "0"], "Search.trials = 0"),
        (["--storage", "redis://h"], "--storage redis://h"),
        (["--set", "Search.trails = 3"], "did you mean 'trials'"),
        (["nosuch/fragment"], "no fragment or file 'nosuch/fragment'"),
    ):
        assert cli.main(["search", path, *arguments, *run]) == 2
        err = capsys.readouterr().err
        assert told in err
        assert "Traceback" not in err
    assert not (tmp_path / "study" / "trials").exists()

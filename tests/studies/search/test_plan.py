"""Plans of searches: what is checked before the first trial, and what may not change afterwards."""

import os
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from rnnlab.errors import ConfigError, DataError
from rnnlab.studies.search.database import open_study
from rnnlab.studies.search.plan import create_or_resume, plan_search
from rnnlab.studies.search.report import write_report
from tests.sampled import sampled
from tests.studies.small_studies import (
    OVERRIDES,
    SPACE,
    small_search,
    write_study,
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


PARITY = ["Trainer.source = @task.Parity", *OVERRIDES[:-1]]
TWO_OR_FOUR = {"type": "categorical", "choices": [2, 4]}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"trials": 0}, "Search.trials = 0: at least 1"),
        ({"trials": -1}, "Search.trials = -1: at least 1"),
        ({"trials": 10**9}, "Search.trials = 1000000000: at most 1,000,000"),
        ({"confirm_seeds": 0}, "Search.confirm_seeds = 0: at least 1"),
        ({"confirm_seeds": 10**9}, "Search.confirm_seeds = 1000000000: at most 1,000"),
        ({"heartbeat": 10**12}, "Search.heartbeat = 1000000000000: at most 86,400"),
        ({"space": {}}, "Search.space = {}"),
        ({"pruner": "medain"}, "did you mean 'median'"),
        ({"bytes": None}, "--bytes N"),
        ({"base": ["sha_rnnn"]}, "did you mean 'sha_rnn'"),
        ({"space": {"SingleHead.memroy": SPACE["SingleHead.memory"]}}, "did you mean 'memory'"),
        ({"spcae": {}}, "did you mean 'space'"),
        ({"metric": "valid_accuracy"}, "runs on corpus.File have valid_bpc"),
        ({"metric": "test_bpc"}, "metric takes"),
        ({"steps": 5}, "one budget"),
        ({"overrides": PARITY, "metric": "valid_bpc"}, "runs on task.Parity have valid_accuracy, valid_nats"),
        (
            {"overrides": PARITY, "bytes": None, "steps": 5, "space": {"Trainer.batch_size": TWO_OR_FOUR}},
            "Search.space varies 'Trainer.batch_size'",
        ),
        (
            {"overrides": [*OVERRIDES, "Trainer.steps = 5"], "space": {"Trainer.batch_size": TWO_OR_FOUR}},
            "Search.space varies 'Trainer.batch_size'",
        ),
        ({"space": {"Trainer.bytes": TWO_OR_FOUR}}, "Trainer.bytes decides what is trained on, how long"),
        ({"space": {"Trainer.steps": TWO_OR_FOUR}}, "Trainer.steps decides what is trained on, how long"),
        ({"space": {"Trainer.eval_bytes": TWO_OR_FOUR}}, "Trainer.eval_bytes decides"),
        (
            {"overrides": [*OVERRIDES, "budget = 640", "Trainer.bytes = %budget"], "space": {"budget": TWO_OR_FOUR}},
            "Trainer.bytes decides what is trained on, how long",
        ),
        (
            {"overrides": PARITY, "space": {"Parity.longest": {"type": "categorical", "choices": [20, 30]}}},
            "task.Parity.longest decides what is trained on",
        ),
    ],
)
def test_a_search_that_cannot_run_is_refused_in_words(arguments: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        small_search(tmp_path, **arguments)
    assert told in str(caught.value)
    assert not (tmp_path / "study").exists()


def test_a_corpus_that_is_not_there_is_told_before_the_first_trial(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        small_search(tmp_path, "File.path = '/nowhere'")


@pytest.mark.slow
def test_a_study_begins_with_the_base_as_its_baseline_and_is_made_once(tmp_path: Path) -> None:
    made = small_search(tmp_path)
    create_or_resume(made)
    create_or_resume(made)
    with open_study(made.address) as study:
        (baseline,) = study.trials()
    assert baseline.state is TrialState.WAITING
    assert baseline.user_attrs == {"baseline": True}
    assert baseline.system_attrs["fixed_params"] == {"SingleHead.memory": 16, "dropout": 0.0}


@pytest.mark.long
def test_a_base_that_the_space_does_not_hold_is_no_trial_and_that_is_said(tmp_path: Path) -> None:
    made = small_search(tmp_path, "memory = 100")
    create_or_resume(made)
    with open_study(made.address) as study:
        assert study.trials() == []
    assert "the space does not hold the base's SingleHead.memory = 100" in write_report(made)[1]


@pytest.mark.slow
def test_a_changed_space_is_refused_with_the_difference(tmp_path: Path) -> None:
    create_or_resume(small_search(tmp_path))
    changed = {**SPACE, "dropout": {"type": "float", "low": 0.0, "high": 0.25}}
    with pytest.raises(ConfigError, match="the space changed") as caught:
        create_or_resume(small_search(tmp_path, space=changed))
    assert "dropout: " in str(caught.value)
    assert "SingleHead.memory" not in str(caught.value)


@pytest.mark.slow
def test_a_changed_base_or_sampler_is_refused_and_more_trials_are_not(tmp_path: Path) -> None:
    create_or_resume(small_search(tmp_path))
    create_or_resume(small_search(tmp_path, trials=100))
    with pytest.raises(ConfigError, match=r"the base changed[^\n]*\n.*LanguageModel\.dim: 8 -> 12"):
        create_or_resume(small_search(tmp_path, "LanguageModel.dim = 12"))
    with pytest.raises(ConfigError, match=r"Search\.seed was 1 .* and is 2 now"):
        create_or_resume(small_search(tmp_path, "Search.seed = 2"))


@pytest.mark.slow
def test_a_study_whose_maker_died_halfway_is_completed(tmp_path: Path) -> None:
    made = small_search(tmp_path)
    made.folder.mkdir()
    optuna.create_study(study_name=made.address.name, storage=made.address.storage())
    create_or_resume(made)
    with open_study(made.address) as study:
        assert study.optuna.user_attrs["space"] == made.space.description
        assert len(study.trials()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    sampled(
        ["what?", "a#b", "50%", "%3F", "{x}", "{SCHEMA_VERSION}", "two words", "it's", "naïve", os.fsdecode(b"\xff")],
        ("'%3F'", "'{x}'", "'naïve'"),
        repr,
    ),
)
def test_the_database_and_its_lock_lie_in_the_folder_whatever_its_name(name: str, tmp_path: Path) -> None:
    made = plan_search(str(write_study(tmp_path, "Search")), run=tmp_path / "st" / name)
    create_or_resume(made)
    with open_study(made.address) as study:
        assert len(study.trials()) == 1
    assert list((tmp_path / "st").iterdir()) == [made.folder]
    assert {path.name for path in made.folder.iterdir()} == {
        "base.gin", "study.db", "study.db.lock", "study.gin", "study.name"
    }  # fmt: skip


@pytest.mark.slow
def test_trials_of_an_unknown_study_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "study" / "trials" / "trial-0000").mkdir(parents=True)
    with pytest.raises(ConfigError, match="trials of a study that the storage does not know"):
        create_or_resume(small_search(tmp_path))


@pytest.mark.parametrize("pruner", ["median", "hyperband", "none"])
def test_every_pruner_and_sampler_can_be_had(pruner: str, tmp_path: Path) -> None:
    made = small_search(tmp_path, pruner=pruner)
    assert pruner[:3] in type(made.pruner()).__name__.lower() or pruner == "none"
    conditional = {
        "Block.core": {"type": "categorical", "choices": ["@core.LSTM", "@core.QRNN"]},
        "QRNN.width": {"type": "int", "low": 1, "high": 2, "when": {"Block.core": "@core.QRNN"}},
    }
    with pytest.warns(optuna.exceptions.ExperimentalWarning, match="group"):
        small_search(tmp_path, space=conditional).sampler(0)

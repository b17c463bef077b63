"""Points that a search tries first, and what does not lie in its space."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from rnnlab.errors import ConfigError
from rnnlab.studies.search.database import open_study
from rnnlab.studies.search.plan import create_or_resume
from rnnlab.studies.search.points import read_points
from rnnlab.studies.search.space import Space
from tests.studies.small_studies import SPACE, small_search

MIXED = Space.read(
    {
        "QRNN.width": {"type": "int", "low": 1, "high": 2, "when": {"Block.core": "@core.QRNN"}},
        "Block.core": {"type": "categorical", "choices": ["@core.LSTM", "@core.QRNN"]},
        "dropout": {"type": "float", "low": 0.0, "high": 0.5},
    }
)


@pytest.mark.parametrize(
    ("enqueue", "told"),
    [
        ([{"dropuot": 0.1}], "Search.enqueue[0]: 'dropuot' is not in the space; did you mean 'dropout'"),
        ([{"dropout": 0.1}, {"dropout": 0.9}], "Search.enqueue[1]: dropout = 0.9 is not among its values"),
        ([{"dropout": True}], "dropout = True is not among its values"),
        ([{"Block.core": "@core.GRU"}], "Search.enqueue[0]: Block.core = @core.GRU is not among its values"),
        ([{"Block.core": "@core.LSTM", "QRNN.width": 2}], "QRNN.width = 2 applies only where the point has Block.core"),
        ([{"QRNN.width": 2}], "Search.enqueue[0]: QRNN.width = 2 applies only where"),
        ([{}], "Search.enqueue[0] = {}: a dict of values by key is expected"),
        ([0.1], "Search.enqueue[0] = 0.1: a dict of values by key is expected"),
        ({"dropout": 0.1}, "Search.enqueue = {'dropout': 0.1}: a list of points is expected"),
    ],
)
def test_a_point_that_does_not_lie_in_the_space_is_refused_with_its_key_and_value(enqueue: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_points(enqueue, MIXED)
    assert told in str(caught.value)


def test_a_point_has_the_types_that_the_space_draws() -> None:
    (point,) = read_points([{"dropout": 0, "Block.core": "@core.QRNN", "QRNN.width": 2}], MIXED)
    assert point == {"Block.core": "@core.QRNN", "QRNN.width": 2, "dropout": 0.0}
    assert isinstance(point["dropout"], float)


def test_a_point_of_a_plan_is_checked_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Search\.enqueue\[0\]: dropout = 0\.7 is not among"):
        small_search(tmp_path, enqueue=[{"dropout": 0.7}])
    assert not (tmp_path / "study").exists()


def test_points_that_can_each_be_built_but_not_together_are_refused(tmp_path: Path) -> None:
    space = {
        "MultiHead.heads": {"type": "categorical", "choices": [1, 2]},
        "LanguageModel.dim": {"type": "categorical", "choices": [8, 9]},
    }
    base = ["sha_rnn", "size/tiny", "attention/multi_head"]
    with pytest.raises(ConfigError, match=r"Search\.enqueue\[0\], at MultiHead\.heads = 2, LanguageModel\.dim = 9"):
        small_search(tmp_path, space=space, base=base, enqueue=[{"MultiHead.heads": 2, "LanguageModel.dim": 9}])


def waiting(plan: Any) -> list[dict[str, Any]]:
    with open_study(plan.address) as study:
        return [t.system_attrs["fixed_params"] for t in study.trials(TrialState.WAITING)]


@pytest.mark.long
def test_points_come_after_the_base_once_each_and_more_may_be_added_later(tmp_path: Path) -> None:
    base, point = {"SingleHead.memory": 16, "dropout": 0.0}, {"SingleHead.memory": 8, "dropout": 0.1}
    plan = small_search(tmp_path, enqueue=[point, base, {"dropout": 0.25}])
    create_or_resume(plan)
    create_or_resume(plan)
    assert waiting(plan) == [base, point, {"dropout": 0.25}]
    create_or_resume(small_search(tmp_path, enqueue=[point, {"dropout": 0.3}]))
    assert waiting(plan) == [base, point, {"dropout": 0.25}, {"dropout": 0.3}]


@pytest.mark.long
def test_a_search_begins_with_the_best_of_another_and_says_what_does_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").mkdir()
    before = small_search(tmp_path / "a", baseline=False)
    create_or_resume(before)
    with open_study(before.address) as study:
        for number, bpc in enumerate([2.7, 2.5, 2.6, 2.9, 2.8, 2.4, 3.0]):
            study.optuna.add_trial(
                optuna.trial.create_trial(
                    value=bpc,
                    params={"SingleHead.memory": 4 + number, "dropout": 0.05 * number},
                    distributions={entry.key: entry.distribution for entry in before.space.entries},
                )
            )
        found = study.trials(TrialState.COMPLETE)
    narrow = {**SPACE, "dropout": {"type": "float", "low": 0.0, "high": 0.2}}
    plan = small_search(tmp_path, space=narrow, baseline=False, from_study=str(before.folder), trials=9)
    create_or_resume(plan)
    create_or_resume(plan)
    assert waiting(plan) == [found[number].params for number in (1, 2, 0, 4)], "the best first"
    said = capsys.readouterr().err
    assert f"trial 5 of {before.folder} does not lie in this space: dropout = 0.25 is not among its values" in said
    with pytest.raises(ConfigError, match="the folder of this search itself"):
        create_or_resume(small_search(tmp_path, space=narrow, baseline=False, from_study=str(plan.folder), trials=9))


def test_a_folder_without_a_search_is_named(tmp_path: Path) -> None:
    plan = small_search(tmp_path, from_study=str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"Search\.from_study = '.*nowhere': no study\.db in it"):
        create_or_resume(plan)
    assert not plan.folder.exists()


def test_the_folder_of_another_search_is_relative_to_the_study_file(tmp_path: Path) -> None:
    assert small_search(tmp_path, from_study="before").search.from_study == str(tmp_path / "before")

"""The space of a search: what it refuses, what it draws, what it binds."""

from typing import Any

import optuna
import pytest

from rnnlab.config import Config, resolve
from rnnlab.errors import ConfigError
from rnnlab.studies.search.database import silence_optuna
from rnnlab.studies.search.space import Space, differences, literal

silence_optuna()

CORE = {"type": "categorical", "choices": ["@core.LSTM", "@core.QRNN"]}
WIDTH = {"type": "int", "low": 1, "high": 2, "when": {"Block.core": "@core.QRNN"}}
DROPOUT = {"type": "float", "low": 0.0, "high": 0.5}


def base(*overrides: str) -> Config:
    return resolve(["sha_rnn", "size/tiny"], ["LanguageModel.dim = 8", "Trainer.bytes = 1000", *overrides])


def draw(space: Space, count: int) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(count)]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("uniform", "a dict with 'type'"),
        ({"type": "integer", "low": 1, "high": 2}, "a dict with 'type'"),
        ({"type": "float", "low": 0.0, "hihg": 0.5}, "did you mean 'high'"),
        ({"type": "float", "low": 0.5, "high": 0.0}, "low"),
        ({"type": "float", "low": 0.0}, "high"),
        ({"type": "float", "low": 0.0, "high": 1.0, "log": True}, "low"),
        ({"type": "categorical", "choices": []}, "choices"),
        ({**DROPOUT, "when": {"Block.cor": "@core.LSTM"}}, "did you mean 'Block.core'"),
        ({**DROPOUT, "when": {"Block.core": "@core.GRU"}}, "none of its choices"),
        ({**DROPOUT, "when": "always"}, "a dict is expected"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_with_its_key(fields: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=r"Search\.space\['dropout'\].*") as caught:
        Space.read({"Block.core": CORE, "dropout": fields})
    assert told in str(caught.value)


def test_keys_that_wait_for_each_other_are_refused() -> None:
    one = {"type": "categorical", "choices": [1, 2], "when": {"b": 1}}
    other = {"type": "categorical", "choices": [1, 2], "when": {"a": 1}}
    with pytest.raises(ConfigError, match="a -> b -> a"):
        Space.read({"a": one, "b": other})


def test_a_conditional_key_is_drawn_exactly_when_its_condition_holds() -> None:
    space = Space.read({"QRNN.width": WIDTH, "Block.core": CORE})
    drawn = draw(space, 20)
    assert {params["Block.core"] for params in drawn} == {"@core.LSTM", "@core.QRNN"}
    for params in drawn:
        assert ("QRNN.width" in params) == (params["Block.core"] == "@core.QRNN")
    assert space.conditional


def test_parameters_become_bindings_that_take_effect() -> None:
    space = Space.read({"Block.core": CORE, "QRNN.width": WIDTH, "dropout": DROPOUT})
    bindings = space.bindings({"Block.core": "@core.QRNN", "QRNN.width": 2, "dropout": 0.25})
    assert bindings == ["Block.core = @core.QRNN", "QRNN.width = 2", "dropout = 0.25"]
    config = base(*bindings)
    assert config.value("Block.core").selector == "core.QRNN"
    assert config.value("QRNN.width") == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [("@core.LSTM", "@core.LSTM"), ("%dropout", "%dropout"), ("fp32", "'fp32'"), (True, "True"), (None, "None")],
)
def test_a_string_is_a_reference_only_if_it_looks_like_one(value: Any, text: str) -> None:
    assert literal(value) == text


def test_the_baseline_has_the_values_that_the_base_binds_inherits_or_leaves_to_the_part() -> None:
    space = Space.read(
        {
            "Block.core": {"type": "categorical", "choices": ["@LSTM", "@QRNN"]},
            "QRNN.width": {"type": "int", "low": 1, "high": 2, "when": {"Block.core": "@QRNN"}},
            "sha/SingleHead.memory": {"type": "int", "low": 1, "high": 512},
            "LSTM.dropconnect": {"type": "float", "low": 0.0, "high": 0.5, "when": {"Block.core": "@LSTM"}},
        }
    )
    params, outside = space.baseline(base("memory = 77"))
    assert params == {"Block.core": "@LSTM", "sha/SingleHead.memory": 77, "LSTM.dropconnect": 0.0}
    assert outside == []


def test_a_base_outside_of_the_space_is_told() -> None:
    space = Space.read({"SingleHead.memory": {"type": "int", "low": 300, "high": 512}, "dropout": DROPOUT})
    params, outside = space.baseline(base())
    assert params == {"dropout": 0.0}
    assert outside == ["SingleHead.memory = 256"]


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"SingelHead.memory": {"type": "int", "low": 1, "high": 2}}, "did you mean"),
        ({"SingleHead.memroy": {"type": "int", "low": 1, "high": 2}}, "did you mean 'memory'"),
        ({"QRNN.width": {"type": "int", "low": 1, "high": 2}}, "core.QRNN"),
        ({"SingleHead.memory": {"type": "int", "low": 0, "high": 2}}, "memory >= 1"),
        ({"dropout": {"type": "float", "low": 0.0, "high": 1.0}}, "[0, 1)"),
        ({"Block.core": {"type": "categorical", "choices": ["@core.LSTM", "@core.GUR"]}}, "did you mean"),
        ({"Block.core": CORE, "QRNN.width": {"type": "int", "low": 1, "high": 2}}, "QRNN"),
    ],
)
def test_a_key_that_binds_nothing_or_a_value_that_builds_nothing_is_refused(space: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=r"^Search\.space, at ") as caught:
        Space.read(space).check(base())
    assert told in str(caught.value)


def test_a_space_of_alternatives_with_their_own_keys_is_accepted() -> None:
    Space.read({"Block.core": CORE, "QRNN.width": WIDTH, "dropout": DROPOUT}).check(base())


def test_two_descriptions_of_a_space_differ_in_the_key_that_differs() -> None:
    before = Space.read({"dropout": DROPOUT, "Block.core": CORE}).description
    after = Space.read({"dropout": {**DROPOUT, "high": 0.25}, "Block.core": CORE}).description
    assert differences(before, before) == []
    (line,) = differences(before, after)
    assert line.startswith("dropout: ")
    assert "0.5" in line
    assert "0.25" in line

"""What runs are compared by, and one difficulty of a test."""

import math
from typing import Any

import pytest

from rnnlab.errors import ConfigError
from rnnlab.views.metrics import METRICS, by_difficulty, metric, value

FACTS: dict[str, Any] = {
    "task": {"name": "Parity", "difficulty": "length", "judged": "last"},
    "test_accuracy": 0.75,
    "test_by": [{"length": 256, "accuracy": 0.5, "nats": 0.69}, {"length": 40, "accuracy": 1, "nats": 0.001}],
}


def test_accuracy_is_better_when_it_is_higher_and_all_else_when_it_is_lower() -> None:
    assert {one.word for one in METRICS.values() if one.higher_is_better} == {"accuracy"}
    assert {one.word for one in METRICS.values() if not one.higher_is_better} == {"BPC", "nats"}


def test_a_metric_of_one_difficulty_is_read_from_the_test_by_difficulty() -> None:
    assert value(FACTS, "test_accuracy@256") == 0.5
    assert value(FACTS, "test_nats@40") == 0.001
    assert value(FACTS, "test_accuracy") == 0.75
    assert (metric("test_accuracy@256").title, metric("test_accuracy@256").higher_is_better) == (
        "test accuracy at 256",
        True,
    )


def test_difficulties_are_in_ascending_order() -> None:
    assert list(by_difficulty(FACTS)) == [40, 256]


@pytest.mark.parametrize("result", [None, math.nan, math.inf, True, "0.5"])
def test_what_is_no_finite_number_is_none(result: object) -> None:
    assert value({"test_bpc": result}, "test_bpc") is None


def test_a_run_that_was_not_tested_has_no_value() -> None:
    assert value({}, "test_accuracy@256") is None
    assert value({}, "valid_bpc") is None


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("accuracy", "no metric 'accuracy'; the metrics are valid_bpc, best_valid_bpc,"),
        ("valid_accuracy@256", "one difficulty of the test is test_accuracy@256 or test_nats@256"),
        ("test_accuracy@long", "no metric 'test_accuracy@long'"),
        ("test_accuracy@64", "the test was at length 40, 256; name one of these"),
    ],
)
def test_a_metric_that_is_not_there_is_refused_with_those_that_are(key: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        value(FACTS, key)

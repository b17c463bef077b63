"""What a study's runs are compared by: which they have, and what is better."""

import math
from typing import Any

import pytest

from rnnlab import config
from rnnlab.config import Config
from rnnlab.errors import ConfigError
from rnnlab.studies.metric import OF_SEARCHES, choose, rank, score, worst
from rnnlab.views.metrics import METRICS

PARITY = ("Trainer.source = @task.Parity", "Trainer.steps = 10")


def resolved(*bindings: str) -> Config:
    return config.resolve(["sha_rnn", "size/tiny"], list(bindings))


def test_text_is_compared_by_bpc_and_a_task_by_accuracy_unless_the_study_says_otherwise() -> None:
    assert choose("Ablation", None, resolved("Trainer.bytes = 10")).key == "valid_bpc"
    assert choose("Ablation", None, resolved(*PARITY)).key == "valid_accuracy"
    assert choose("Ablation", "test_nats", resolved(*PARITY)).key == "test_nats"
    assert choose("Ablation", "test_accuracy@256", resolved(*PARITY)).key == "test_accuracy@256"


@pytest.mark.parametrize(
    ("name", "bindings", "told"),
    [
        (
            "valid_bpc",
            PARITY,
            r"Ablation.metric = 'valid_bpc': runs on task.Parity have valid_accuracy, best_valid_acc",
        ),
        ("test_accuracy", (), r"'test_accuracy': runs on corpus.PythonStdlib have valid_bpc, best_valid_bpc, test_bpc"),
        ("accuracy", PARITY, "no metric 'accuracy'; the metrics are valid_bpc,"),
        ("test_accuracy@100", PARITY, r"task.Parity is tested at length 40, 64, 128, 256; name one of these"),
    ],
)
def test_a_metric_that_the_runs_do_not_have_is_refused_with_those_that_they_have(
    name: str, bindings: tuple[str, ...], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        choose("Ablation", name, resolved(*bindings))


def test_a_difficulty_that_the_configuration_tests_is_one_that_can_be_compared() -> None:
    further = resolved(*PARITY, "Parity.test = [100, 512]")
    assert choose("Ablation", "test_accuracy@100", further).title == "test accuracy at 100"
    with pytest.raises(ConfigError, match="tested at length 100, 512"):
        choose("Ablation", "test_accuracy@256", further)


def test_a_search_chooses_by_valid_alone() -> None:
    with pytest.raises(ConfigError, match=r"Search.metric = 'test_accuracy': .* have valid_accuracy, valid_nats$"):
        choose("Search", "test_accuracy", resolved(*PARITY), OF_SEARCHES)


@pytest.mark.parametrize(
    ("result", "key", "reached"),
    [
        ({"status": "done", "valid_accuracy": 0.75}, "valid_accuracy", 0.75),
        ({"status": "diverged", "valid_accuracy": 0.75}, "valid_accuracy", math.nan),
        ({"status": "done", "valid_accuracy": None}, "valid_accuracy", math.nan),
        ({"status": "done", "valid_bpc": 2.5}, "valid_bpc", 2.5),
        (
            {
                "status": "done",
                "task": {"name": "Parity", "difficulty": "length"},
                "test_by": [{"length": 40, "accuracy": 1.0}, {"length": 256, "accuracy": 0.5}],
            },
            "test_accuracy@256",
            0.5,
        ),
    ],
)
def test_what_a_run_reached_is_a_number_unless_it_diverged(result: dict[str, Any], key: str, reached: float) -> None:
    assert score(result, key) == pytest.approx(reached, nan_ok=True)


@pytest.mark.parametrize(("key", "best_first"), [("valid_accuracy", [0.9, 0.5]), ("valid_nats", [0.1, 0.7])])
def test_the_better_comes_first_and_nothing_is_worse_than_having_diverged(key: str, best_first: list[float]) -> None:
    metric = METRICS[key]
    values = [worst(metric), *reversed(best_first)]
    assert sorted(values, key=lambda value: rank(metric, value)) == [*best_first, worst(metric)]


@pytest.mark.parametrize(
    ("name", "binding"), [("online_bpc", "Trainer.online = True"), ("test_dynamic_bpc", "Trainer.dynamic = @Dynamic")]
)
def test_what_only_some_runs_have_is_refused_with_the_binding_that_gives_it(name: str, binding: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}': bind {binding}"):
        choose("Ablation", name, resolved("Trainer.bytes = 10"))
    assert choose("Ablation", name, resolved("Trainer.bytes = 10", binding)).key == name

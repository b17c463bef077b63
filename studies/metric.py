"""The metric of a study: what its runs are compared by, which they must have, and what a run reached in it."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from rnnlab.config import Config
from rnnlab.errors import ConfigError
from rnnlab.studies.source import name_of_source, task_of, trains_on_task
from rnnlab.views.metrics import METRICS, Metric, metric, value

OF_SEARCHES = ("valid_bpc", "valid_accuracy", "valid_nats", "valid_dynamic_bpc")
"""What a search may choose by: test is for those who have chosen."""


def choose(study: str, name: str | None, config: Config, among: Iterable[str] = METRICS) -> Metric:
    """The metric called `name` of runs by this configuration; None for valid BPC of text, valid accuracy of a task.

    Args:
        study: whose metric it is, for errors: "Ablation".
        among: keys that the study can do with.
    Raises: ConfigError if the runs do not have it, naming those that they have.
    """
    on_task = trains_on_task(config)
    fitting = [key for key in among if is_of_tasks(METRICS[key]) == on_task]
    chosen = metric(("valid_accuracy" if on_task else "valid_bpc") if name is None else name)
    key, _, difficulty = chosen.key.partition("@")
    if key not in fitting:
        raise ConfigError(
            f"{study}.metric = {chosen.key!r}: runs on {name_of_source(config)} have {', '.join(fitting)}"
        )
    for end, bound, said in (("dynamic_bpc", "Trainer.dynamic", "@Dynamic"), ("online_bpc", "Trainer.online", "True")):
        if key.endswith(end) and not config.value(bound):
            raise ConfigError(f"{study}.metric = {chosen.key!r}: bind {bound} = {said}, by which runs have it")
    task = task_of(config)
    if difficulty and task is not None and int(difficulty) not in task.tested:
        tested = ", ".join(map(str, task.tested))
        raise ConfigError(
            f"{study}.metric = {chosen.key!r}: {name_of_source(config)} is tested at {task.difficulty} {tested}; "
            f"name one of these, or bind what is tested"
        )
    return chosen


def is_of_tasks(metric: Metric) -> bool:
    """Whether runs on tasks have it; those on text have BPC."""
    return metric.word != "BPC"


def counted_in(metric: Metric) -> str:
    """What a model reads one of at a time: a "byte" of text, a "position" of a task."""
    return "position" if is_of_tasks(metric) else "byte"


def score(result: Mapping[str, Any], key: str) -> float:
    """What a run that ended reached in a metric; NaN where it diverged, whatever it had reached before.

    Raises: ConfigError if the run was tested at other difficulties than the metric's.
    """
    found = None if result.get("status") == "diverged" else value(result, key)
    return math.nan if found is None else float(found)


def worst(metric: Metric) -> float:
    """What is reported of a run that reached nothing: infinitely bad."""
    return -math.inf if metric.higher_is_better else math.inf


def rank(metric: Metric, reached: float) -> float:
    """A key under which what is better comes first."""
    return -reached if metric.higher_is_better else reached


def superlative(metric: Metric) -> str:
    """The best is the "lowest" or the "highest"."""
    return "highest" if metric.higher_is_better else "lowest"

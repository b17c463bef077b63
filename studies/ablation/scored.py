"""On what a metric was measured: chance, the answers that were scored, and how they were read."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rnnlab.studies.metric import is_of_tasks
from rnnlab.views.metrics import Metric, by_difficulty, metric, number
from rnnlab.views.runs import natural, protocol_note

Result = Mapping[str, Any]

NORMAL_95 = 1.96  # standard errors to each side of a mean


def chance(results: Sequence[Result], key: str) -> float | None:
    """Accuracy of the best constant answer where these runs were scored; None for what is no accuracy."""
    if metric(key).word != "accuracy":
        return None
    told = [found for result in results if (found := _chance(result, key)) is not None]
    return told[0] if told else None


def _chance(result: Result, key: str) -> float | None:
    name, _, difficulty = key.partition("@")
    if difficulty:
        return number(by_difficulty(result).get(int(difficulty), {}).get("chance"))
    return number(result.get("test_chance" if name.startswith("test_") else "valid_chance"))


def examples(results: Sequence[Result], key: str) -> list[int]:
    """How many examples of a task each run was scored on, of those that say so."""
    told = (number(_scored(result, key).get("examples")) for result in results)
    return [int(count) for count in told if count]


def scored_note(results: Sequence[Result], metric: Metric) -> str:
    """How the metric was measured, to stand beside every table of it; empty if no run says."""
    if metric.key == "online_bpc":
        trained = _several(result.get("bytes_trained") for result in results)
        return f"Online BPC: each byte of the first pass scored before it was learned from, {trained} bytes trained."
    if metric.key.endswith("dynamic_bpc"):
        own = "dynamic_protocol" if metric.key.startswith("test_") else "valid_dynamic_protocol"
        rules = _several(str(found["dynamic"]) for one in results if (found := one.get(own)) and "dynamic" in found)
        return f"{metric.heading}, each chunk learned from after it was scored: {rules}."
    if not is_of_tasks(metric):
        return protocol_note(results)
    scored = [found for result in results if (found := _scored(result, metric.key))]
    if not scored:
        return ""
    counts = {key: _several(found.get(key) for found in scored) for key in ("answers", "examples", "memory")}
    note = f"{metric.heading} over {counts['answers']} answers of {counts['examples']} examples a run"
    uneven = [key for key in ("answers", "examples") if len({found.get(key) for found in scored}) > 1]
    warning = f" Not the same everywhere: {', '.join(uneven)}; compare with care." if uneven else ""
    return f"{note}, with memory {counts['memory']}.{warning}{_sampling_note(scored, metric)}"


def _sampling_note(scored: Sequence[Result], metric: Metric) -> str:
    """How much of an accuracy is chance of the draw of its examples, where all runs share them: a model that gives one
    answer to everything has the same accuracy with every seed, and an interval of no width.

    Source: the normal approximation to the binomial. Answers of one example may depend on each other, hence at most.
    """
    examples = {number(one.get("examples")) for one in scored}
    (fewest, *others) = examples
    if metric.word != "accuracy" or others or not fewest:
        return ""
    error = NORMAL_95 * math.sqrt(0.25 / fewest)
    return f" All seeds share these examples; another draw of them moves an accuracy by at most ±{error:.3f} (95%)."


def _scored(result: Result, key: str) -> Result:
    """Examples and answers that the metric is over, with the memory that they were read with; empty if unknown."""
    name, _, difficulty = key.partition("@")
    protocol = result.get("protocol" if name.startswith("test_") else "valid_protocol")
    if not isinstance(protocol, Mapping):
        return {}
    return {**protocol, **by_difficulty(result).get(int(difficulty), {})} if difficulty else protocol


def _several(values: Iterable[Any]) -> str:
    found = sorted(set(values), key=natural)
    return " or ".join("none" if one is None else f"{one:,}" if isinstance(one, int) else str(one) for one in found)

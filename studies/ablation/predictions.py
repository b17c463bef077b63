"""What the smaller sizes of a study say about the largest, written down before the largest is trained.

A prediction is kept in `prediction.json` in the study's folder, by what it is of: a variant at all sizes, with its text
and metric. It is never written over. Whoever writes it holds the lock of the study.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rnnlab.console import say
from rnnlab.errors import StorageError
from rnnlab.storage.durable import storage_errors, write_file
from rnnlab.storage.jsonfile import read_object
from rnnlab.studies.ablation.cells import PlannedVariant
from rnnlab.studies.ablation.known import KnownCells
from rnnlab.studies.ablation.ladder import Extrapolation, Ladder, NoLaw, PowerLaw, predict
from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.sizes import plain
from rnnlab.studies.metric import score
from rnnlab.views import numerals
from rnnlab.views.intervals import Interval

PREDICTIONS = "prediction.json"
REMEDY = "move it away; the table will say that the prediction was made afterwards"


@dataclass(frozen=True)
class Prediction:
    """Of one variant.

    Attributes:
        found: without what is measured later.
        fitted: what it was made from, by parameters and seed.
        ended: runs of the largest size that were done by then; 0 of a prediction that deserves the name.
        at: when it was made, UTC.
    """

    found: Extrapolation
    fitted: Ladder
    ended: int
    at: str


def ladders(plan: AblationPlan, known: KnownCells) -> dict[str, Ladder]:
    """By the name that a variant has at all sizes: parameters of the baseline, seed and metric of what is done."""
    found: dict[str, dict[float, Mapping[int, float]]] = {}
    for variant in plan.variants:
        results = known.results(plan.cells_of(variant))
        if results:
            scores = {seed: score(result, plan.metric.key) for seed, result in results.items()}
            found.setdefault(plain(variant.name, variant.size), {})[plan.sizes[variant.size]] = scores
    return dict(found)


def made_now(plan: AblationPlan, known: KnownCells) -> dict[str, Extrapolation | NoLaw]:
    """What the smaller sizes say as they are, about as many seeds of the largest as are planned."""
    size = plan.sizes[plan.largest]
    return {
        name: predict({at: scores for at, scores in ladder.items() if at < size}, size, len(plan.seeds))
        for name, ladder in ladders(plan, known).items()
    }


def read(plan: AblationPlan) -> dict[str, Prediction]:
    """Those that stand in the folder, by the name that a variant has at all sizes.

    Raises: StorageError if the file is damaged.
    """
    path = plan.folder / PREDICTIONS
    told = read_object(path, REMEDY) if path.exists() else {}
    try:
        return {name: _read(told[key]) for name, key in _keys(plan).items() if key in told}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{path}: not as it was written ({type(error).__name__}: {error}); {REMEDY}") from error


def write_and_say(plan: AblationPlan, known: KnownCells) -> None:
    """Write down the predictions that are not there yet, and say all of them. Raises: StorageError."""
    standing, made = read(plan), made_now(plan, known)
    path, keys, found = plan.folder / PREDICTIONS, _keys(plan), ladders(plan, known)
    size, new = plan.sizes[plan.largest], {}
    for name, one in made.items():
        if name in standing or isinstance(one, NoLaw):
            continue
        fitted = {at: scores for at, scores in found[name].items() if at < size}
        ended = len(found[name].get(size, {}))
        new[name] = Prediction(one, fitted, ended, datetime.now(UTC).isoformat(timespec="seconds"))
    if new:
        told = read_object(path, REMEDY) if path.exists() else {}
        told |= {keys[name]: _told(plan, name, one) for name, one in new.items()}
        with storage_errors(f"{path}: cannot be written"):
            write_file(path, (json.dumps(told, indent=1) + "\n").encode())
    predicted = {**standing, **new}
    shown = numerals.plus_minus(plan.metric.digits)
    for name, outcome in made.items():
        told_now = shown(predicted[name].found.predicted) if name in predicted else f"none ({_reason(outcome)})"
        say(f"{plan.metric.title} of {name} at {plan.largest}, {size:,} parameters, predicted: {told_now}")
    if predicted:
        say(f"{path}: keeps what is predicted before {plan.largest} is trained")


def _reason(outcome: Extrapolation | NoLaw) -> str:
    return outcome.reason if isinstance(outcome, NoLaw) else ""


def _keys(plan: AblationPlan) -> dict[str, str]:
    """What each variant is known by: with another base or at other sizes its prediction is another one."""
    at_sizes: dict[str, list[PlannedVariant]] = {}
    for variant in plan.variants:
        at_sizes.setdefault(plain(variant.name, variant.size), []).append(variant)
    return {name: _key(variants, plan.metric.key) for name, variants in at_sizes.items()}


def _key(variants: Sequence[PlannedVariant], metric: str) -> str:
    parts = [metric, *(f"{variant.config.sha} {variant.corpus_sha}" for variant in variants)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _told(plan: AblationPlan, name: str, prediction: Prediction) -> dict[str, Any]:
    found = prediction.found
    return {
        "variant": name,
        "metric": plan.metric.key,
        "size": plan.largest,
        "parameters": found.size,
        "predicted": vars(found.predicted),
        "exponent": vars(found.exponent),
        "law": vars(found.law),
        "fitted": [[size, seed, value] for size, scores in prediction.fitted.items() for seed, value in scores.items()],
        "ended": prediction.ended,
        "at": prediction.at,
    }


def _read(told: Mapping[str, Any]) -> Prediction:
    fitted: dict[float, dict[int, float]] = {}
    for size, seed, value in told["fitted"]:
        fitted.setdefault(size, {})[int(seed)] = float(value)
    exponent, predicted = (_interval(told[name]) for name in ("exponent", "predicted"))
    law = PowerLaw(*(float(told["law"][name]) for name in ("floor", "coefficient", "exponent")))
    found = Extrapolation(law, exponent, told["parameters"], predicted)
    return Prediction(found, fitted, int(told["ended"]), str(told["at"]))


def _interval(told: Mapping[str, Any]) -> Interval:
    return Interval(float(told["mean"]), float(told["low"]), float(told["high"]), int(told["count"]))

"""How often a run is evaluated and on how much text, so that it costs at most a fifth of training."""

import math
from dataclasses import dataclass

from rnnlab.training.recipe import Trainer

SHARE = 0.3
"""Bytes scored for each byte trained on, over a whole run. Scoring a byte took 0.17 to 0.26 of the time of
training on it where both were measured (size/tiny and size/small with LSTM, AVX2); twice that stays below a fifth."""

FEWEST_BYTES = 5_000
"""[bytes] A point of a curve scores at least so many, as long as there is more than one."""

MOST_POINTS = 10  # of a curve, or one an epoch where that is more


@dataclass(frozen=True)
class EvaluationPlan:
    """One protocol for all points of a run's curve, and for its test score."""

    every: int  # [bytes] trained between two evaluations
    valid: int | None  # [bytes] of the split that are scored; None for all
    test: int | None


def plan_evaluations(
    trainer: Trainer, *, budget: int, epoch: int | None, valid: int, test: int, whole: bool = False
) -> EvaluationPlan:
    """What the recipe asks for, else what SHARE pays for.

    Args:
        budget, epoch: [bytes] of the run, and of a reading of its text; an epoch may have no end.
        valid, test: [bytes] of the splits.
        whole: score all of valid and rather evaluate less often, within half of what is affordable, and all of test
            whatever it costs: of a task, whose splits are as large as was asked for.
    """
    every = trainer.eval_every or max(1, min(epoch or budget, math.ceil(budget / MOST_POINTS)))
    each = trainer.eval_bytes
    if each is None:
        points, affordable = max(1, math.ceil(budget / every)), SHARE * budget
        if whole:
            points = max(1, min(points, int(affordable / 2 // valid)))
            return EvaluationPlan(trainer.eval_every or math.ceil(budget / points), None, None)
        if points * valid + test <= affordable:
            return EvaluationPlan(every, None, None)
        if trainer.eval_every is None:
            points = min(points, max(1, int(affordable // FEWEST_BYTES) - 1))
            every = math.ceil(budget / points)
        each = max(1, int(affordable / (points + 1)))
    return EvaluationPlan(every, *(None if each == "all" or each >= split else each for split in (valid, test)))

"""A candidate of the second stage over its fresh seeds: what is reported of it, and what ends it early."""

import math
from collections.abc import Callable, Mapping, Sequence

import optuna
from optuna.pruners import BasePruner, WilcoxonPruner

from rnnlab.studies.search.database import experimental_features, report

SPARED = "spared"  # attribute of the candidate that nothing prunes


def confirmation_pruner() -> BasePruner:
    """Drops a candidate that falls behind the best one, by Wilcoxon's test over the seeds of both."""
    with experimental_features():
        return WilcoxonPruner()


def mean_over_seeds(
    trial: optuna.Trial, seeds: Sequence[int], reach: Callable[[int], float], reported: Mapping[int, float]
) -> float:
    """The mean of what a candidate reaches with each seed, reported under the seed, so that the pruner compares pairs.

    The candidate that the others are compared with is spared: it is trained with all seeds, whatever it reaches.
    Without them a winner would have nothing to be paired with.

    Args:
        trial: of the candidate.
        reach: trains with a seed; infinite where training reached nothing.
        reported: what was reported of it before, by seed.
    Raises: TrialPruned if the candidate falls behind or reached nothing with a seed; TrialLost if another worker has
        the trial.
    """
    is_spared, reached = bool(trial.user_attrs.get(SPARED)), dict(reported)
    for seed in seeds:
        found = reach(seed)
        if seed not in reached:
            report(trial, found, seed)
            reached[seed] = found
        if not is_spared and (not math.isfinite(found) or trial.should_prune()):
            raise optuna.TrialPruned
    if not all(map(math.isfinite, reached.values())):
        raise optuna.TrialPruned
    return math.fsum(reached.values()) / len(reached)

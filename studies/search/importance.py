"""How much each key matters in a search, where there are trials enough to tell.

Source: Watanabe et al. 2023, arXiv:2304.10255 (PED-ANOVA), as Optuna computes it: how far the values of the best trials
are from those of all.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from rnnlab.studies.search.database import experimental_features
from rnnlab.studies.search.space import Entry, literal

FEWEST = 10
"""Complete trials with a key. Optuna wants five among the best, and the best have to be no more than half of all."""
BEST = 5


@dataclass(frozen=True)
class Importance:
    """What a search says about its keys.

    Attributes:
        shares: of the whole by key, the largest first [fraction].
        missing: why there is none, by key.
    """

    shares: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """A line for each reason, with the keys that it holds for."""
        keys: dict[str, list[str]] = {}
        for key, reason in self.missing.items():
            keys.setdefault(reason, []).append(key)
        return [f"no importance of {', '.join(names)}: {reason}" for reason, names in keys.items()]


def importance(study: optuna.Study, entries: Sequence[Entry]) -> Importance:
    """Shares of the keys that can be judged by the complete trials, and a reason for each that cannot."""
    complete = [t for t in study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]) if _is_finite(t)]
    missing = {entry.key: reason for entry in entries if (reason := _why_not(entry, complete))}
    judged = [entry.key for entry in entries if entry.key not in missing]
    if not judged:
        return Importance({}, missing)
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(0.1, BEST / len(complete)))
    with experimental_features(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a condition that holds in one trial alone
        found = get_param_importances(study, evaluator=evaluator, params=judged, normalize=False)
    total = sum(found.values())
    if total <= 0.0:  # Optuna would give each the same share
        return Importance({}, {**missing, **dict.fromkeys(judged, "the best trials have the values that all have")})
    return Importance({key: float(share / total) for key, share in found.items()}, missing)


def _is_finite(trial: FrozenTrial) -> bool:
    return trial.value is not None and math.isfinite(trial.value)


def _why_not(entry: Entry, complete: Sequence[FrozenTrial]) -> str:
    """Why the key cannot be judged; empty if it can."""
    given = [trial.params[entry.key] for trial in complete if entry.key in trial.params]
    if len(given) < FEWEST:
        count = "1 complete trial has it" if len(given) == 1 else f"{len(given)} complete trials have it"
        return f"{count}, and {FEWEST} are needed"
    if len(set(given)) < 2:
        return f"nothing but {literal(given[0])} was tried"
    return ""

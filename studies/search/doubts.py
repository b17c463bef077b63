"""What makes the result of a search doubtful, in a line each."""

from collections.abc import Sequence

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial

from rnnlab.studies.search.plan import SearchPlan
from rnnlab.studies.search.space import Entry, literal


def doubts(plan: SearchPlan, done: Sequence[FrozenTrial]) -> list[str]:
    """Lines on the trials that finished: a sampler that never began, choices that were never drawn."""
    lines = []
    search = plan.search
    # A trial is drawn by TPE if so many had finished before it; of as many trials none was.
    if search.sampler == "tpe" and len(done) <= search.startup:
        count = f"{len(done)} trial{'' if len(done) == 1 else 's'}"
        lines.append(
            f"TPE never began, so this is a random search of {count}: it begins once Search.startup = {search.startup} "
            f"have finished; ask for more --trials, or begin another search with a smaller startup"
        )
    for entry in plan.space.entries:
        if never := _never_drawn(entry, done):
            lines.append(
                f"{entry.key} was never {' or '.join(map(literal, never))}: nothing is known of what was not drawn; "
                f"ask for more --trials, or name it in Search.enqueue"
            )
    return lines


def _never_drawn(entry: Entry, done: Sequence[FrozenTrial]) -> list[object]:
    if not isinstance(entry.distribution, CategoricalDistribution):
        return []
    drawn = [trial.params[entry.key] for trial in done if entry.key in trial.params]
    return [choice for choice in entry.distribution.choices if choice not in drawn]

"""A run is its configuration and its seed: copies of one, reached through several studies, count once."""

from collections.abc import Hashable, Sequence

from rnnlab.views.metrics import METRICS, by_difficulty
from rnnlab.views.naming import in_a_row
from rnnlab.views.runs import Run

ENDED = ("done", "diverged")
MOST_NAMED = 4  # in a note


def without_copies(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The runs, of those with one configuration, seed and result the first alone; and notes on what was found.

    Runs with one configuration and seed and different results are all kept, and a note names them. One that has not
    ended has no result yet: it is no copy.
    """
    firsts: dict[Hashable, dict[Hashable, Run]] = {}
    kept: list[Run] = []
    copies: list[str] = []
    for run in runs:
        if run.status not in ENDED:
            kept.append(run)
            continue
        known = firsts.setdefault((tuple(sorted(run.bindings.items())), run.seed), {})
        first = known.setdefault(_result(run), run)
        if first is run:
            kept.append(run)
        else:
            copies.append(f"{run.name} is {first.name}")
    notes = []
    if copies:
        left_out = "1 copy is" if len(copies) == 1 else f"{len(copies)} copies are"
        notes.append(f"{left_out} left out, with the same configuration, seed and result: {_listed(copies)}.")
    for known in firsts.values():
        if len(known) > 1:
            names = _listed([run.name for run in known.values()])
            notes.append(f"The same configuration and seed, but different results: {names}; all are shown and counted.")
    return kept, notes


def _result(run: Run) -> Hashable:
    """What was reached, but not how long it took."""
    reached = tuple(run.number(key) for key in (*METRICS, "bytes_trained"))
    tests = tuple((at, row.get("accuracy"), row.get("nats")) for at, row in by_difficulty(run.facts).items())
    return run.status, reached, tests


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return in_a_row(names[:MOST_NAMED]) + more

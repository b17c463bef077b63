"""How a study stands, in words and for programs."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnnlab.locks import holder
from rnnlab.studies.standing import ENDED, Standing
from rnnlab.views import numerals
from rnnlab.views.tables import Table, to_json, to_text

MOST_SHOWN = 20  # runs that are neither done nor waiting, a line each
STATES = ("done", "running", "interrupted", "failed", "waiting")

Answer = tuple[dict[str, Any], str]
"""(facts for programs, text for a terminal)."""


@dataclass(frozen=True)
class StudyAccount:
    """What is known of a study.

    Attributes:
        head: what the study is.
        stage: a line on each stage that it went through or is in.
        noun: of what is counted: "cells".
        counts: how many of them are in which state.
        runs: by name, those that are here.
        seconds_left: one run after another; None if nothing is known of it.
        seconds_at_most: the same if all seeds are needed that the study may add; None where it adds none.
        tables: of what there is, by the names of their files.
        facts: what programs are told beside all this.
    """

    folder: Path
    head: str
    noun: str
    counts: Mapping[str, int]
    runs: Mapping[str, Standing]
    seconds_left: float | None
    tables: Mapping[str, Table]
    stage: Sequence[str] = ()
    seconds_at_most: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def answer(self) -> Answer:
        counts = {state: self.counts.get(state, 0) for state in STATES}
        running = sum(one.state == "running" for one in self.runs.values())
        at_work, at_a_time = holder(self.folder), max(1, running, counts["running"])
        left, at_most = (
            None if seconds is None else seconds / at_a_time for seconds in (self.seconds_left, self.seconds_at_most)
        )
        unended = {name: one for name, one in self.runs.items() if one.state not in (*ENDED, "waiting")}
        lines = [self.head, *self.stage, f"{sum(counts.values()):,} {self.noun}: {_counted(counts)}"]
        if at_work:
            lines.append(f"{at_work} is at it")
        if left or at_most:
            lines.append(_time(left or 0.0, at_most, at_a_time))
        lines += [f"  {name}: {one.text()}" for name, one in list(unended.items())[:MOST_SHOWN]]
        if len(unended) > MOST_SHOWN:
            lines.append(f"  and {len(unended) - MOST_SHOWN} more")
        if sum(counts.values()) > counts["done"] and not at_work and not running and not counts["running"]:
            lines.append("the command that began it goes on with it")
        facts = {
            "folder": str(self.folder),
            "at_work": at_work,
            self.noun: counts,
            **self.facts,
            "seconds_left": left,
            "seconds_at_most": at_most,
            "runs": {name: one.facts() for name, one in unended.items()},
            "tables": {stem: json.loads(to_json(table)) for stem, table in self.tables.items()},
        }
        return facts, "\n\n".join(["\n".join(lines), *map(to_text, self.tables.values())])


def count_states(runs: Sequence[Standing]) -> Counter[str]:
    """How many are in which state; one that diverged is done, as that is its result."""
    counts = Counter[str](one.state for one in runs)
    counts["done"] += counts.pop("diverged", 0)
    return counts


def _counted(counts: Mapping[str, int]) -> str:
    """As in: 3 done, 2 running."""
    return ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state] or state == "done")


def seconds_left(runs: Sequence[Standing], waiting: int) -> float | None:
    """Of one run after another: what is begun, at its own pace, and what is not, at that of those that are done.

    Args:
        waiting: how many are still to begin.
    Returns: None if runs wait and none has ended.
    """
    taken = [one.seconds for one in runs if one.state in ENDED and one.seconds]
    begun = [one.seconds_left for one in runs if one.state in ("running", "interrupted")]
    if waiting and not taken:
        return None
    mean = sum(taken) / len(taken) if taken else 0.0
    return sum(mean if one is None else one for one in begun) + waiting * mean


def _time(left: float, at_most: float | None, at_a_time: int) -> str:
    with_workers = f"with {at_a_time} at a time"
    if at_most is None or at_most <= left:
        return f"about {numerals.duration(left)} left, {with_workers}"
    return (
        f"about {numerals.duration(left)} left to the next look, at most {numerals.duration(at_most)} to the last, "
        f"{with_workers}"
    )

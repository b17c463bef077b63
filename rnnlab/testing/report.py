"""Holding parts to the laws and telling how it went."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from rnnlab import registry
from rnnlab.errors import LawError
from rnnlab.testing import law as book
from rnnlab.testing.blocks import all_pairs
from rnnlab.testing.case import ModuleFactory, kind_of
from rnnlab.testing.law import Law, PartFactory, part_name
from rnnlab.testing.tasks import is_task


@dataclass(frozen=True)
class Outcome:
    """What one law said of one part."""

    part: str
    law: str
    passed: bool
    message: str  # how the law was broken
    note: str  # what there is to say of a part that obeys; mostly nothing
    seconds: float

    def lines(self) -> Iterator[str]:
        """As `rnnlab check` prints it."""
        note = f" ({self.note})" if self.note else ""
        yield f"{'ok    ' if self.passed else 'FAILED'} {self.part}: {self.law}{note}"
        if not self.passed:
            yield f"       {self.message}"


def check(
    part: PartFactory | str, kind: str | None = None, laws: Sequence[Law[Any]] | None = None, *, slow: bool = False
) -> list[Outcome]:
    """Hold a part to the laws of its kind; nothing is raised for a broken law.

    Args:
        part: called `part(dim)`, a task `part()`; or the selector of a registered part, `core.LSTM`.
        kind: which laws; by default those of the kind it is registered as or looks like.
        laws: these instead of all of the kind.
        slow: also the laws that take seconds.
    Raises: ConfigError if there is no such part or kind; LawError if the kind is not given and cannot be told.
    """
    name = part if isinstance(part, str) else part_name(part)
    if isinstance(part, str):
        entry = registry.find(part)
        part, kind, name = entry.factory, kind or entry.kind, entry.selector
    chosen = book.laws(kind or _kind_of(part), slow=slow) if laws is None else laws
    return list(_outcomes(part, name, chosen))


def report(
    selectors: Sequence[str] = (), *, slow: bool = False, as_json: bool = False, out: TextIO | None = None
) -> int:
    """Print a line for every law of every part named, or of all parts and all pairs of block slots, and a summary.

    Args:
        selectors: registered parts; none means all.
        slow: also the laws that take seconds a part.
        as_json: one JSON object in place of the lines.
        out: where to, by default standard output.
    Returns: 0, or 1 if a law was broken: an exit code.
    Raises: ConfigError if there is no such part, or no laws for its kind.
    """
    out = out or sys.stdout
    started = time.perf_counter()
    every = [part for part in registry.parts() if part.kind in book.kinds()]
    subjects = [registry.find(selector) for selector in selectors] or every
    queue = [(part.factory, part.selector, book.laws(part.kind, slow=slow)) for part in subjects]
    if not selectors:
        queue += [(filled, f"block.{part_name(filled)}", book.laws("block")) for filled in registered_pairs()]
    outcomes = []
    for part, name, laws in queue:
        for outcome in _outcomes(part, name, laws):
            outcomes.append(outcome)
            if not as_json:
                print(*outcome.lines(), sep="\n", file=out, flush=True)
    failed = [outcome for outcome in outcomes if not outcome.passed]
    seconds = time.perf_counter() - started
    summary = {"parts": len(queue), "checks": len(outcomes), "failed": len(failed), "seconds": round(seconds, 1)}
    if as_json:
        print(json.dumps(summary | {"outcomes": [asdict(outcome) for outcome in outcomes]}), file=out)
    else:
        laws_met = len({outcome.law for outcome in outcomes})
        broken = f"{len(failed)} FAILED" if failed else "all ok"
        some = f"{len(queue)} part{'s' if len(queue) > 1 else ''}"
        print(f"{some} x {laws_met} laws: {len(outcomes)} checks, {broken}, {seconds:.0f} s", file=out)
    return 1 if failed else 0


def registered_pairs() -> list[ModuleFactory]:
    """Every registered block filled with registered parts, so that each pair of slots occurs at least once."""
    kinds = ("block", "core", "attention", "feedforward")
    return all_pairs(*([part.factory for part in registry.parts(kind)] for kind in kinds))


def _kind_of(part: PartFactory) -> str:
    return "task" if is_task(part) else kind_of(part)


def _outcomes(part: PartFactory, name: str, laws: Sequence[Law[Any]]) -> Iterator[Outcome]:
    for law in laws:
        if not law.applies_to(part):
            continue
        started, message, note = time.perf_counter(), "", ""
        try:
            note = law(part)
        except LawError as violation:
            message = str(violation)
        yield Outcome(name, law.name, not message, message, note, time.perf_counter() - started)

"""What has been seen of a study: its looks at p-values, and those that were planned, in its folder.

Both stand in `looks.json` by baseline: with another baseline every cell is another one, and nothing has been seen yet.
Whoever writes it holds the lock of the study.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rnnlab.errors import ConfigError, StorageError
from rnnlab.storage.durable import storage_errors, write_file
from rnnlab.storage.jsonfile import read_object
from rnnlab.studies.ablation.looks import Look, planned
from rnnlab.studies.ablation.plan import AblationPlan

LOOKS = "looks.json"
REMEDY = "move it away, and say beside the table that earlier looks are not known"


@dataclass(frozen=True)
class LookHistory:
    """What is known of the looks at one baseline and its variants.

    Attributes:
        plan: the looks that were planned before the first; empty if none were.
        until: every half-width that was asked for, the first one first, in the metric's unit.
        planned: seeds at the looks that were taken as planned, ascending.
        by_hand: seeds at the other looks at a table with p-values, in their order.
    """

    plan: tuple[Look, ...] = ()
    until: tuple[float, ...] = ()
    planned: tuple[int, ...] = ()
    by_hand: tuple[int, ...] = ()

    def with_look(self, seeds: int, is_planned: bool) -> "LookHistory":
        """The same after a look at so many seeds; the same look again is none."""
        if is_planned:
            return replace(self, planned=tuple(sorted({*self.planned, seeds})))
        return self if self.by_hand[-1:] == (seeds,) else replace(self, by_hand=(*self.by_hand, seeds))

    def warning(self, seeds: int, is_planned: bool) -> str:
        """On a table of so many seeds, if p was looked at with another number of them; else empty."""
        before = [*([] if is_planned else self.planned), *self.by_hand]
        if all(one == seeds for one in before):
            return ""
        every = [one for i, one in enumerate([*before, seeds]) if i == 0 or one != before[i - 1]]
        order = f"first {', then '.join(map(str, every))}"
        did = "Seeds were added" if every == sorted(every) else "The number of seeds was changed"
        return f"{did} after a look at p ({order}): p-values are too small."


def read(plan: AblationPlan) -> LookHistory:
    """What is known of this baseline. Raises: StorageError if the file is damaged."""
    path = plan.folder / LOOKS
    found = _all(path).get(_key(plan))
    if found is None:
        return LookHistory()
    try:
        return LookHistory(
            tuple(Look(int(seeds), float(level)) for seeds, level in found["plan"]),
            tuple(map(float, found["until"])),
            tuple(map(int, found["planned"])),
            tuple(map(int, found["by_hand"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{path}: not as it was written ({type(error).__name__}: {error}); {REMEDY}") from error


def write(plan: AblationPlan, seen: LookHistory) -> None:
    """Raises: StorageError."""
    path = plan.folder / LOOKS
    entry = {
        "plan": [[look.seeds, look.level] for look in seen.plan],
        "until": list(seen.until),
        "planned": list(seen.planned),
        "by_hand": list(seen.by_hand),
    }
    text = json.dumps({**_all(path), _key(plan): entry}, indent=2) + "\n"
    with storage_errors(f"{path}: cannot be written"):
        write_file(path, text.encode())


def open_plan(plan: AblationPlan) -> LookHistory:
    """Write down the looks of a study with `until` before the first, or hold it to those that stand there.

    Another half-width may be asked for later: what a look may spend does not depend on it.
    Raises: ConfigError if the looks would be others now; StorageError.
    """
    seen, ablation = read(plan), plan.ablation
    assert ablation.until is not None
    looks = planned(ablation.first_look, ablation.most_seeds)
    if seen.plan and _counts(seen.plan) != _counts(looks):
        raise ConfigError(
            f"{plan.folder / LOOKS}: looks were planned at {_listed(seen.plan)} seeds, and Ablation.seeds and "
            f"Ablation.most_seeds now make {_listed(looks)}; bind {seen.plan[0].seeds} and {seen.plan[-1].seeds}, as "
            f"before, or choose another --run"
        )
    asked = seen.until if seen.until[-1:] == (ablation.until,) else (*seen.until, ablation.until)
    opened = replace(seen, plan=seen.plan or looks, until=asked)
    if opened != seen:
        write(plan, opened)
    return opened


def _all(path: Path) -> dict[str, Any]:
    return read_object(path, REMEDY) if path.exists() else {}


def _key(plan: AblationPlan) -> str:
    baseline = plan.variants[0]
    return hashlib.sha256(f"{baseline.config.sha} {baseline.corpus_sha}".encode()).hexdigest()[:16]


def _counts(looks: Sequence[Look]) -> list[int]:
    return [look.seeds for look in looks]


def _listed(looks: Sequence[Look]) -> str:
    return ", ".join(map(str, _counts(looks)))

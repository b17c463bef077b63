"""What variants are called beside other tasks: without what only says which task it is, so that one name is one row."""

import re
from collections.abc import Mapping

from rnnlab.views.metrics import Facts


def rows_of(task: str, variants: Mapping[str, Facts]) -> dict[str, str]:
    """Variants of one task by the name of their row; by their own names if two would share one.

    Args:
        task: its name.
        variants: of each the facts of a run.
    """
    paths = [name.split("/") for name in variants]
    shared = set.intersection(*map(set, paths)) if len(paths) > 1 else set()
    rows = [_row(name, facts, task, shared) for name, facts in variants.items()]
    return dict(zip(rows if len(set(rows)) == len(rows) else variants, variants, strict=True))


def _row(name: str, facts: Facts, task: str, shared: set[str]) -> str:
    """A study says what its variant is called, "lstm (parity)"; else folders that all variants share say the task."""
    if isinstance(told := facts.get("variant"), str):
        return re.sub(r" \([^()]*\)$", "", told)
    own = "/".join(part for part in name.split("/") if part not in shared)
    words = "|".join({re.escape(slug(task)), re.escape(slug(task).replace("_", "-")), re.escape(task)})
    return re.sub(rf"(?i)(^|[-_./ ])({words})(?=$|[-_./ ])", "", own).strip("-_./ ") or name


def slug(name: str) -> str:
    """RecallAtDistance -> recall_at_distance."""
    return re.sub(r"\W+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).lower()

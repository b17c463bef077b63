"""One line of an examination, and how a check that fails becomes one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from rnnlab.errors import RnnlabError
from rnnlab.safe_text import hide_secrets, printable
from rnnlab.storage.durable import REMEDIES

Verdict = Literal["good", "warning", "bad", "absent"]
"""absent: something that is not needed is not there."""


@dataclass(frozen=True)
class Finding:
    """What a check found: `warning` and `bad` come with a remedy."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str = ""

    @property
    def is_to_do(self) -> bool:
        return self.verdict in ("warning", "bad")


Check: TypeAlias = Callable[[], Finding | Iterable[Finding]]
"""Looks at one thing. Whatever it raises is a finding too."""


def look(check: Check) -> list[Finding]:
    """What a check finds; a check that raises becomes one bad line with the first line of the error."""
    name = str(check.args[0]) if isinstance(check, partial) else check.__name__.replace("_", " ")
    try:
        found = check()
        return [found] if isinstance(found, Finding) else list(found)
    except Exception as error:
        return [failed(name, error)]


def failed(name: str, error: Exception) -> Finding:
    """The bad line of a check that raised `error`."""
    first, *_ = str(error).splitlines() or [""]
    said = printable(hide_secrets(first))
    if isinstance(error, RnnlabError):
        detail, _, remedy = said.partition("; ")
        return Finding(name, "bad", detail, remedy or "change what this line names")
    detail = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return Finding(name, "bad", detail, _remedy(error))


def _remedy(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "reinstall the package that does not import"
    known = REMEDIES.get(error.errno or 0) if isinstance(error, OSError) else None
    return known or "repair what this line names; if nothing is broken, report it"

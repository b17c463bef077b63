"""Names that become folders: what no file system should be asked to keep is refused before anything is written."""

import unicodedata
from collections.abc import Iterable

from rnnlab.config.values import shorten
from rnnlab.errors import ConfigError
from rnnlab.safe_text import as_utf8

LONGEST = 100  # [bytes]; file systems take 255, and a study puts something before and behind a name
SHOWN = 60  # [characters] of a name that is refused


def check_names(names: Iterable[str]) -> None:
    """Raises: ConfigError for the first that no folder should have, and for two that a file system may take for one."""
    first: dict[str, str] = {}
    for name in names:
        if trouble := _trouble(name):
            raise ConfigError(f"the name {shorten(repr(name), SHOWN)} {trouble}; a folder will have it: choose another")
        twin = first.setdefault(name.casefold(), name)
        if twin != name:
            raise ConfigError(f"the names {twin!r} and {name!r} differ in case only; rename one of them")


def _trouble(name: str) -> str:
    if name != as_utf8(name):
        return "is not UTF-8"
    if (length := len(name.encode())) > LONGEST:
        return f"has {length} bytes, more than {LONGEST}"
    if "/" in name or has_control_characters(name):
        return "holds a slash or a control character"
    if name.startswith((".", "-")):
        return "begins with a dot or a dash"
    return "is empty, or begins or ends with a space" if name.strip() != name or not name else ""


def has_control_characters(text: str) -> bool:
    """Whether the text has a newline, an escape or the like in it."""
    return any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text)

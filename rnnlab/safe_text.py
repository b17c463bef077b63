"""Text of others that is printed or stored: without secrets, terminal escapes, and bytes that are not UTF-8."""

import re
import unicodedata

_SECRETS = re.compile(
    r"(https?://)[^\s/]*@"  # a token may stand alone there
    r"|((?<![\w+.-])[\w+.-]+://?)[^\s:@]*:\S*@"  # to the last @, as a password may hold one; a path has one / less
    r"|([?&]\w*password=)[^\s&]*"
)
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # of a terminal: colors, movements of the cursor


def hide_secrets(text: str) -> str:
    """The text with `***` for user and password of every SCHEME://USER:PASSWORD@ in it, and for ?password=."""
    return _SECRETS.sub(lambda m: f"{m[1]}***@" if m[1] else f"{m[2]}***@" if m[2] else f"{m[3]}***", text)


def as_utf8(text: str) -> str:
    """The text with escapes for the bytes of a file's name that are not UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def printable(text: str) -> str:
    """The text on one line, without what a terminal would obey (escapes, reversed writing) or a file could not hold."""
    spaced = re.sub(r"\s", " ", _ESCAPE.sub("", text))
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_control(c) else c for c in spaced)


def escaped(text: str) -> str:
    """The text of several lines with control characters as escapes."""
    return "".join(ascii(c)[1:-1] if _is_control(c) and c not in "\n\t" else c for c in text)


def _is_control(character: str) -> bool:
    return unicodedata.category(character)[0] == "C"

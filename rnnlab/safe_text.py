"""Text of others that is printed or stored: without secrets, terminal escapes, and bytes that are not UTF-8."""

import re

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
    """What can be printed of the text, on one line."""
    return "".join(character for character in _ESCAPE.sub("", text) if character.isprintable())

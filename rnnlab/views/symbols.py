"""The bytes of a text as the symbols that a reader sees, each with what it cost: for `text.html` and `text.png`."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from rnnlab.views.findings import Bytes, Floats

SURE, UNIFORM = 0.0, 8.0  # [bits] of a byte that was certain, and of one that was guessed among all 256
LEVELS = 16  # of color between the two


@dataclass(frozen=True)
class Symbol:
    """One character of UTF-8, or one byte that is part of none."""

    start: int  # its place in the text [bytes]
    raw: bytes
    shown: str  # visible, and in no way a command to what shows it
    bits: float | None  # surprisal, the sum over its bytes [bits]; None at the first byte, which nothing predicts

    @property
    def level(self) -> int | None:
        """Of color, from 0 to LEVELS - 1."""
        if self.bits is None:
            return None
        return min(int((self.bits - SURE) / (UNIFORM - SURE) * LEVELS), LEVELS - 1)


def symbols(text: Bytes, surprisal: Floats) -> Iterator[Symbol]:
    """text (n,), surprisal (n,) [bits], nan where there is none -> its symbols in order; their `raw` is the text."""
    content = text.tobytes()
    start = 0
    while start < len(content):
        character = _character(content, start)
        raw = content[start : start + 1] if character is None else character.encode()
        bits = float(surprisal[start : start + len(raw)].sum())
        shown = f"\\x{raw[0]:02x}" if character is None else visible(character)
        yield Symbol(start, raw, shown, None if bits != bits else max(bits, 0.0))
        start += len(raw)


def _character(content: bytes, start: int) -> str | None:
    """The character of UTF-8 that begins there; None if none does."""
    first = content[start]
    length = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    try:
        return content[start : start + length].decode()
    except UnicodeDecodeError:
        return None


def visible(character: str) -> str:
    """A character, or what stands for it: ⏎ and ⇥, an escape for a control, a circle under what combines."""
    if character in "\n\t ":
        return {"\n": "⏎", "\t": "⇥", " ": " "}[character]
    kind = unicodedata.category(character)[0]
    if kind in "CZ":  # controls, reversed writing, what is not assigned, spaces of other widths
        return ascii(character)[1:-1]
    return f"◌{character}" if kind == "M" else character

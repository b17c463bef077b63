"""What rnnlab says on a terminal beside its answers, and streams that never fail the work.

A notice is decoration: where nobody can read it, the work goes on.
"""

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from rnnlab.errors import StorageError
from rnnlab.safe_text import escaped, hide_secrets

GLYPHS = str.maketrans(
    {"±": "+/-", "×": "x", "−": "-", "–": "-", "→": "->", "Δ": "d", "≥": ">=", "≤": "<=", "…": "...", "─": "-"}
)
"""Glyphs of tables and progress bars where the encoding of a stream has none of them."""


IN_ASCII = "rnnlab.in_ascii"  # name of the way in which a stream replaces what its encoding lacks


def _in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end].translate(GLYPHS)
    return lacking.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error(IN_ASCII, _in_ascii)


def say(message: str) -> None:
    """One line on standard error."""
    with suppress(OSError, ValueError):  # ValueError: closed
        print(f"rnnlab: {escaped(hide_secrets(message))}", file=sys.stderr or io.StringIO(), flush=True)


@contextmanager
def standard_output() -> Iterator[Any]:
    """Where answers go. A reader that has gone away is no error.

    Raises: StorageError if the answer cannot be written, such as to a file on a full disk.
    """
    try:
        yield sys.stdout
        sys.stdout.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)  # or Python complains again on its way out
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            reason = (error.strerror or str(error)).lower()
            raise StorageError(f"the answer cannot be written to standard output: {reason}; the work is done") from None


def prepare_streams() -> None:
    """Make standard input, output and error usable for the rest of the process, however it was started.

    One that is closed leads nowhere: or the next file that is opened would take its number, and what others print would
    land in it. What an encoding lacks is replaced. Standard error swallows what it cannot write.
    """
    for number, mode in enumerate("rww"):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, this one
        name = ("stdin", "stdout", "stderr")[number]
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=IN_ASCII)
    if not isinstance(sys.stderr, _Forgiving):
        sys.stderr = _Forgiving(sys.stderr)


class _Forgiving:
    """A stream whose writing never raises: a pipe that broke, a full disk."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

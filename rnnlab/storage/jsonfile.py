"""JSON from files that anyone may have written: what is odd is told in one line that names the file."""

import json
from pathlib import Path
from typing import Any

from rnnlab.errors import StorageError
from rnnlab.storage.durable import storage_errors

MOST_DIGITS = 20  # of an integer: a longer one fits no number of ours, and 400 of them no float


def parse(data: bytes | str) -> Any:
    """The value. Raises: ValueError if it is no JSON, nested too deep, or has an integer that no field can hold."""
    try:
        return json.loads(data, parse_int=_integer)
    except RecursionError:
        raise ValueError("nested too deep") from None


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON object in a file. Raises: StorageError with the remedy."""
    with storage_errors(f"{path}: cannot be read"):
        data = path.read_bytes()
    return parse_object(data, str(path), remedy)


def parse_object(data: bytes, place: str, remedy: str) -> dict[str, Any]:
    """The JSON object in some bytes. Raises: StorageError with their place and the remedy."""
    try:
        found = parse(data)
    except ValueError as error:
        raise StorageError(f"{place}: not JSON ({error}); {remedy}") from error
    if not isinstance(found, dict):
        raise StorageError(f"{place}: a JSON object is expected, not {type(found).__name__}; {remedy}")
    return found


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)

"""`rnnlab studies`: the studies that ship, to be listed, read, and copied."""

import itertools
import os
import re
from pathlib import Path
from typing import Any

from rnnlab.errors import ConfigError
from rnnlab.registry import did_you_mean
from rnnlab.storage.durable import storage_errors
from rnnlab.studies.definition import COMMANDS, HERE, shipped


def listed() -> list[dict[str, str]]:
    """Name, command and question of each study that ships."""
    return [_described(name) for name in shipped()]


def shown(name: str) -> dict[str, str]:
    """The same of one study, with its text. Raises: ConfigError with the nearest name."""
    plain = Path(name).as_posix().removeprefix("studies/").removesuffix(".gin")
    if plain not in shipped():
        nearest = did_you_mean(plain, shipped()) or f"; those that ship: {', '.join(shipped())}"
        raise ConfigError(f"no study {name!r} ships{nearest}")
    return {**_described(plain), "text": _text(plain)}


def copied(name: str, to: str | Path | None = None) -> dict[str, str]:
    """Copy a study: where to, and the command that runs the copy.

    Args:
        to: a file, or the folder for a file of the study's own name; None for the current folder.
    Raises: ConfigError if it is there already, or there is no such study; StorageError if it cannot be written.
    """
    study = shown(name)
    path = Path("." if to is None else to)
    if path.is_dir():
        path /= f"{Path(study['name']).name}.gin"
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it first, or name another place")
    with storage_errors(f"{path}: cannot be written"):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            raise ConfigError(f"{path}: is there already, and is not overwritten; name another file") from None
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(study["text"])
    runnable = path if path.is_absolute() else os.path.join(".", path)  # the name alone is the study that ships
    return {"name": study["name"], "path": str(path), "run": f"rnnlab {study['command']} {runnable}"}


def listing(studies: list[dict[str, str]]) -> str:
    """For a terminal."""
    width = max(len(study["name"]) for study in studies)
    return "\n".join(f"{study['name']:<{width}}  {study['question']}" for study in studies)


def _described(name: str) -> dict[str, Any]:
    text = _text(name)
    bound = next(noun for noun in COMMANDS if f"\n{noun}." in f"\n{text}")
    return {"name": name, "command": COMMANDS[bound], "question": _first_sentence(text)}


def _first_sentence(text: str) -> str:
    """Of the comment that a file begins with; up to a full stop or question mark, and not that of "et al."."""
    comment = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    whole = " ".join(line.removeprefix("#").strip() for line in comment)
    return re.split(r"(?<=[\w)][.?])(?<!et al\.)\s+(?=[A-Z0-9])", whole)[0]


def _text(name: str) -> str:
    return (HERE / f"{name}.gin").read_text(encoding="utf-8")

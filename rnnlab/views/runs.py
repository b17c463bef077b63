"""Run folders as a reader sees them: finished, interrupted, diverged or still going.

Reads `config.gin`, `metrics.jsonl`, `environment.json` and `result.json`, takes no lock and writes nothing.
"""

import math
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rnnlab.console import say
from rnnlab.errors import StorageError
from rnnlab.storage import metrics
from rnnlab.storage.jsonfile import read_object

SEED = "Trainer.seed"
OF_A_RUN = ("checkpoints", "tb")  # folders in which there are no runs
PROTOCOL = {"batch_size": "batch size {}", "bptt": "bptt {}", "memory": "memory {}", "bytes_scored": "{} bytes scored"}


@dataclass(frozen=True)
class Point:
    """One point of a learning curve."""

    bytes: int  # trained so far [bytes]
    seconds: float  # spent training so far [s]
    bpc: float  # loss [bits/byte]


@dataclass(frozen=True)
class Run:
    """What one run folder says."""

    name: str  # what to call it
    path: Path  # the folder
    status: str  # done, diverged or stopped; unfinished if there is no result yet
    seed: int | None  # None if the configuration does not bind it
    bindings: Mapping[str, str]  # the configuration by key, macros replaced by their values, without the seed
    facts: Mapping[str, Any]  # environment.json, over it where the curves stand, over it result.json
    valid: Sequence[Point]  # learning curve, by bytes trained
    train: Sequence[Point]  # the same of the training loss

    def number(self, key: str) -> float | None:
        """A finite number from the facts, or None."""
        value = self.facts.get(key)
        finite = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return value if finite else None


def find_runs(path: Path) -> list[Path]:
    """The folder if it is a run, else every run below it, in natural order and each once; links are followed.

    A folder that cannot be searched, and a link that leads nowhere, cost a line on standard error.
    Raises: StorageError if there is none.
    """
    if not os.path.isdir(path):
        raise StorageError(f"{path}: there is no such folder; give a run or a study")
    if _is_run(path):
        return [path]
    found = sorted(filter(_is_run, _folders(path)), key=natural)
    if not found:
        raise StorageError(
            f"{path}: no run in or below it; a run is a folder with a config.gin, as `rnnlab train` writes"
        )
    return found


def _folders(path: Path) -> Iterator[Path]:
    """The folder and all below it that may hold runs, those nearer to it first; each once, however it is reached."""
    seen: set[tuple[int, int]] = set()
    waiting = deque([path])
    while waiting:
        folder = waiting.popleft()
        try:
            status = os.stat(folder)  # of what a link leads to; this is how circles end
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            yield folder
            own = OF_A_RUN if _is_run(folder) else ()
            inside = sorted(folder.iterdir(), key=natural)
            waiting += [each for each in inside if each.name not in own and _leads_to_folder(each)]
        except FileNotFoundError:
            pass  # it was removed meanwhile
        except OSError as error:
            _warn(f"{folder}: not searched for runs: {(error.strerror or str(error)).lower()}")


def _leads_to_folder(path: Path) -> bool:
    if os.path.islink(path) and not os.path.exists(path):
        _warn(f"{path}: not searched for runs: the link leads nowhere")
    return os.path.isdir(path)


def _is_run(folder: Path) -> bool:
    return os.path.isfile(folder / "config.gin")


@cache
def _warn(line: str) -> None:
    """Once a process: `rnnlab board` looks every few seconds."""
    say(line)


def natural(value: object) -> list[tuple[int, int, str]]:
    """Sorting key under which seed-2 comes before seed-10."""
    parts = re.split(r"(\d+)", str(value))
    return [(int(part.isdigit() and part.isascii()), int(part) if part.isdecimal() else 0, part) for part in parts]


def read_run(path: Path, name: str) -> Run:
    """Read one run folder. Raises: StorageError naming the file that is missing or damaged."""
    bindings = parse_bindings(_text(path / "config.gin"))
    seed = next((value for key, value in bindings.items() if key.endswith(SEED)), "")
    result = _json(path / "result.json")
    records = metrics.read(path / "metrics.jsonl")
    valid, train = _curve(records, "valid", "valid_bpc"), _curve(records, "train", "bpc")
    return Run(
        name=name,
        path=path,
        status=str(result.get("status", "unfinished")),
        seed=int(seed) if re.fullmatch(r"-?[0-9]+", seed) else None,
        bindings={key: value for key, value in bindings.items() if not key.endswith(SEED)},
        facts={**_json(path / "environment.json"), **_standing(records, valid, train), **result},
        valid=valid,
        train=train,
    )


def _standing(records: Sequence[Mapping[str, Any]], valid: Sequence[Point], train: Sequence[Point]) -> dict[str, Any]:
    """What result.json will say, as far as the journal knows: a run that is not finished has figures as well."""
    last = max([*valid[-1:], *train[-1:]], key=lambda point: point.bytes, default=None)
    memory = [record["memory_mb"] for record in records if isinstance(record.get("memory_mb"), int | float)]
    return {
        "valid_bpc": valid[-1].bpc if valid else None,
        "best_valid_bpc": min((point.bpc for point in valid), default=None),
        "bytes_trained": last.bytes if last else None,
        "seconds": last.seconds if last else None,
        "bytes_per_second": last.bytes / last.seconds if last and last.seconds > 0 else None,
        "peak_memory_mb": max(memory, default=None),
    }


def parse_bindings(text: str) -> dict[str, str]:
    """The bindings of a resolved configuration, one `key = value` a line, with macros replaced by their values."""
    bindings: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        if match := re.match(r"([\w./]+)\s*=\s*(.*)", line):
            key, bindings[match[1]] = match[1], match[2]
        elif key and line.strip() and not line.lstrip().startswith("#"):
            bindings[key] += " " + line.strip()
    macros = {key: value for key, value in bindings.items() if "." not in key}
    return {key: _expand(value, macros) for key, value in bindings.items() if key not in macros}


def _expand(value: str, macros: Mapping[str, str]) -> str:
    """Macros within macros as well, as long as it stays readable: a macro that names itself would grow without end."""
    for _ in range(8):
        expanded = re.sub(r"%([A-Za-z_][\w/]*)", lambda match: macros.get(match[1], match[0])[:1000], value)
        if expanded == value or len(expanded) > 10_000:
            break
        value = expanded
    return value


def differing(bindings: Sequence[Mapping[str, str]]) -> dict[str, list[str | None]]:
    """Keys that do not have one value everywhere, each with its value per configuration (None: not bound)."""
    keys = sorted({key for one in bindings for key in one})
    values = {key: [one.get(key) for one in bindings] for key in keys}
    return {key: row for key, row in values.items() if len(set(row)) > 1}


def protocol_note(facts: Sequence[Mapping[str, Any]]) -> str:
    """How BPC was measured, to stand beside every table of it; empty if no run says.

    Variants may well differ in their memory; batch size, bptt and bytes should be the same wherever BPC is compared.
    """
    protocols = [one["protocol"] for one in facts if isinstance(one.get("protocol"), dict)]
    if not protocols:
        return ""
    values = {key: sorted({one.get(key) for one in protocols}, key=natural) for key in PROTOCOL}
    told = ", ".join(words.format(" or ".join(map(_number, values[key]))) for key, words in PROTOCOL.items())
    uneven = [key for key in PROTOCOL if key != "memory" and len(values[key]) > 1]
    warning = f" Not the same everywhere: {', '.join(uneven).replace('_', ' ')}; compare with care." if uneven else ""
    return f"BPC measured with {told}.{warning}"


def _number(value: Any) -> str:
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path}: cannot be read: {error}") from error


def _json(path: Path) -> dict[str, Any]:
    """The object in the file; empty if there is no file yet."""
    remedy = "restore it, or remove the file to treat the run as unfinished"
    return read_object(path, remedy) if path.exists() else {}


def _curve(records: Sequence[Mapping[str, Any]], kind: str, field: str) -> list[Point]:
    points = []
    for record in records:
        values = [record.get(key) for key in ("bytes", "seconds", field)]
        if record.get("kind") == kind and all(isinstance(v, int | float) and math.isfinite(v) for v in values):
            points.append(Point(int(values[0]), float(values[1]), float(values[2])))  # type: ignore[arg-type]
    return points

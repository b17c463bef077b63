"""Run folders as a reader sees them: finished, interrupted, diverged or still going.

Reads `config.gin`, `metrics.jsonl`, `environment.json` and `result.json`, takes no lock and writes nothing.
"""

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
from rnnlab.views.curves import Curves, Point, is_journal_of_task, read_curves, standing
from rnnlab.views.metrics import Word, by_difficulty, is_task, number, task_name

SEED = "Trainer.seed"
OF_A_RUN = ("checkpoints", "tb")  # folders in which there are no runs
OF_A_STUDY = ("tuning",)  # folders with runs that a study chose by, which do not count beside those that it compares
SHARED = {"batch_size": "batch size {}", "bptt": "bptt {}", "memory": "memory {}"}
PROTOCOL = {**SHARED, "bytes_scored": "{} bytes scored"}
TASK_PROTOCOL = {**SHARED, "examples": "{} examples", "answers": "{} answers scored"}
JUDGED = {"asked": "all answers that are asked for", "last": "the last answer of each example"}


@dataclass(frozen=True)
class Run:
    """What one run folder says."""

    name: str  # what to call it
    path: Path  # the folder
    status: str  # done, diverged or stopped; unfinished if there is no result yet
    seed: int | None  # None if the configuration does not bind it
    bindings: Mapping[str, str]  # the configuration by key, macros replaced by their values, without the seed
    facts: Mapping[str, Any]  # environment.json, over it where the curves stand, over it result.json
    curves: Mapping[Word, Curves]  # by bytes trained; BPC of a run on text, accuracy and nats of one on a task
    variant: str = ""  # what its study calls its configuration, for readers
    deltas: tuple[str, ...] | None = None  # of one whose configuration is elsewhere, in what its study says it differs

    @property
    def task(self) -> str:
        """The name of its task; empty of a run on text."""
        return task_name(self.facts)

    @property
    def word(self) -> Word:
        """What the run is judged by."""
        return next(iter(self.curves), "accuracy" if self.task else "BPC")

    @property
    def valid(self) -> Sequence[Point]:
        """Validation in that word."""
        return self.curves[self.word].valid if self.curves else ()

    @property
    def train(self) -> Sequence[Point]:
        """Training in that word."""
        return self.curves[self.word].train if self.curves else ()

    def number(self, key: str) -> float | None:
        """A finite number from the facts, or None."""
        return number(self.facts.get(key))


def find_runs(path: Path, or_none: bool = False) -> list[Path]:
    """The folder if it is a run, else every run below it, in natural order and each once; links are followed.

    Of a study those by which settings were tuned are left out; they are found in its folder `tuning`.
    A folder that cannot be searched, and a link that leads nowhere, cost a line on standard error.
    Raises: StorageError if there is none, unless that may be.
    """
    if not os.path.isdir(path):
        raise StorageError(f"{path}: there is no such folder; give a run or a study")
    if _is_run(path):
        return [path]
    found = sorted(filter(_is_run, _folders(path)), key=natural)
    if not found and not or_none:
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
            own = OF_A_RUN if _is_run(folder) else OF_A_STUDY if os.path.isfile(folder / "study.name") else ()
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
    seed = next((value for key, value in bindings.items() if is_seed(key)), "")
    result = _json(path / "result.json")
    records = metrics.read(path / "metrics.jsonl")
    environment = _json(path / "environment.json")
    curves = read_curves(records, of_task=is_task({**environment, **result}) or is_journal_of_task(records))
    of_task = facts_of_task(environment, result) if "accuracy" in curves else {}
    return Run(
        name=name,
        path=path,
        status=str(result.get("status", "unfinished")),
        seed=int(seed) if re.fullmatch(r"-?[0-9]+", seed) else None,
        bindings={key: value for key, value in bindings.items() if not is_seed(key)},
        facts={**of_task, **environment, **standing(records, curves), **result},
        curves=curves,
    )


def is_seed(key: str) -> bool:
    """Whether a binding is the seed of a run, in whatever scope."""
    return re.fullmatch(rf"(.*[/.])?{re.escape(SEED)}", key) is not None


def facts_of_task(environment: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """The task before there is a result, and the accuracy of the best constant answer, of the test if it was tested."""
    chances = (number(result.get(f"{split}_chance")) for split in ("test", "valid"))
    chance = next((one for one in chances if one is not None), None)
    return {"task": {"name": str(environment.get("corpus", ""))}, "chance": chance}


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
    """How the figures were measured, to stand beside every table of them; empty if no run says."""
    return " ".join(protocol_notes(facts))


def protocol_notes(facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """One of BPC, and one of accuracy on each task; none if no run says.

    Variants may well differ in their memory; batch size, bptt and how much was scored should be the same wherever
    figures are compared.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in facts:
        if isinstance(one.get("protocol"), dict):
            groups.setdefault(task_name(one), []).append(one)
    return [_protocol_of(name, group) for name, group in groups.items()]


def _protocol_of(task: str, facts: Sequence[Mapping[str, Any]]) -> str:
    """Of runs on one task, or on text."""
    words = TASK_PROTOCOL if task else PROTOCOL
    values = {key: _told(facts, "protocol", key) for key in words}
    told = ", ".join(text.format(" or ".join(map(_number, values[key]))) for key, text in words.items())
    uneven = [key for key in words if key != "memory" and len(values[key]) > 1]
    told += _of_valid(facts, words)
    uneven += [f"{key} of valid" for key in words if key not in SHARED and len(_told(facts, "valid_protocol", key)) > 1]
    warning = f" Not the same everywhere: {', '.join(uneven).replace('_', ' ')}; compare with care." if uneven else ""
    if not task:
        return f"BPC measured with {told}.{warning}"
    said = next((one["task"]["judged"] for one in facts if "judged" in one["task"]), "")
    judged = JUDGED.get(said, "what is judged")
    return f"{task}: accuracy on {judged}, {chance_text(facts)}; measured with {told}.{warning}"


def _told(facts: Sequence[Mapping[str, Any]], protocol: str, key: str) -> list[Any]:
    """The values of one entry of a protocol, each once; none from a run that does not have the protocol."""
    found = {one[protocol].get(key) for one in facts if isinstance(one.get(protocol), Mapping)}
    return sorted(found, key=natural)


def _of_valid(facts: Sequence[Mapping[str, Any]], words: Mapping[str, str]) -> str:
    """How much of valid was scored, where that is not what was scored in the end: its figures are not of one size."""
    counted = [key for key in words if key not in SHARED]
    values = {key: _told(facts, "valid_protocol", key) for key in counted}
    if not any(values[key] and values[key] != _told(facts, "protocol", key) for key in counted):
        return ""
    return f"; of valid {', '.join(words[key].format(' or '.join(map(_number, values[key]))) for key in counted)}"


def chance_text(facts: Sequence[Mapping[str, Any]]) -> str:
    """chance 0.500, or from the least to the greatest over the difficulties."""
    rows = [row for one in facts for row in ({"chance": one.get("valid_chance")}, *by_difficulty(one).values())]
    chances = [chance for row in rows if (chance := number(row.get("chance"))) is not None]
    if not chances:
        return "chance not told"
    low, high = f"{min(chances):.3f}", f"{max(chances):.3f}"
    return f"chance {low}" if low == high else f"chance {low} to {high}"


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

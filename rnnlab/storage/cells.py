"""Results that travel: `cells.jsonl`, one JSON line for each finished run of a study.

A line holds what identifies a run and what it reached. It is small enough to commit or to mail. Of the machine it names
the processor and the device alone: no path, no host.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnlab.errors import StorageError
from rnnlab.safe_text import hide_secrets
from rnnlab.storage.durable import storage_errors, sync_folder, write_file
from rnnlab.storage.jsonfile import parse, parse_object
from rnnlab.storage.metrics import finite, to_json
from rnnlab.storage.runfolder import RunFolder

CELLS_FILE = "cells.jsonl"
TUNING_FILE = "tuning.jsonl"  # the same of runs that settings are chosen by, and that are not compared
FORMAT = 1
VERSIONS = ("rnnlab", "torch")
ENDED = ("done", "diverged")  # status of a run that came to its end
SCORES = ("_bpc", "_accuracy", "_nats")  # how the names of scores in result.json end
COSTS = ("bytes_per_second", "peak_memory_mb", "seconds", "seconds_evaluating", "seconds_saving")
"""Figures that two equal runs differ in, since they tell of the machine."""

OF_THE_MACHINE = (*COSTS, "device", "threads", "ranks")
DEEPEST = 3  # of what is nested in result.json
LONGEST = 200  # [characters] of a word in it

Key = tuple[str, int, str]
"""What makes a cell: the hash of its configuration, its seed, and the hash of its text or task."""


@dataclass(frozen=True)
class FinishedCell:
    """A run that came to its end.

    Attributes:
        variant: what its study calls it.
        bindings: what differs from the study's baseline, as `key = value`.
        config_sha: of its configuration, seed included, wherever files lie.
        source_sha: of its text or task.
        processor: the model of the CPU or GPU.
        device: "cpu", "cuda:0".
        versions: of rnnlab and torch.
        result: the figures of result.json.
    """

    variant: str
    seed: int
    bindings: tuple[str, ...]
    config_sha: str
    source_sha: str
    processor: str
    device: str
    versions: Mapping[str, str]
    result: Mapping[str, Any]

    @property
    def key(self) -> Key:
        return self.config_sha, self.seed, self.source_sha

    def scores(self) -> dict[str, Any]:
        """What two equal runs agree in, whatever machine they ran on."""
        return {key: finite(value) for key, value in self.result.items() if key not in OF_THE_MACHINE}

    def line(self) -> bytes:
        """As it stands in the file, with its newline."""
        return to_json({"format": FORMAT, **vars(self)}).encode() + b"\n"


def finished_cell(
    folder: RunFolder, result: Mapping[str, Any], variant: str, seed: int, bindings: Iterable[str] = ()
) -> FinishedCell:
    """The cell that a run folder holds, with its result."""
    told = folder.environment
    return FinishedCell(
        variant=variant,
        seed=seed,
        bindings=tuple(without_folders(hide_secrets(binding)) for binding in bindings),
        config_sha=folder.config_sha,
        source_sha=folder.corpus_sha,
        processor=str(told.get("device_name") or ""),
        device=str(result.get("device") or told.get("device") or ""),
        versions={name: str(told[name]) for name in VERSIONS if name in told},
        result=portable(result),
    )


def without_folders(binding: str) -> str:
    """A binding with the names alone of the files that it names: where they lie is nobody's business."""
    return re.sub(r"""(['"])~?/[^'"]*/""", r"\1", binding)


def portable(result: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a result, without what would be a path, too long a text, or nested too deep."""
    return {key: value for key, value in _portable(dict(result), DEEPEST).items() if key != "run"}


def _portable(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        inside = {str(key): _portable(one, depth - 1) for key, one in value.items() if _fits(one, depth)}
        return inside if depth else {}
    if isinstance(value, list | tuple):
        return [_portable(one, depth - 1) for one in value if _fits(one, depth)]
    return value


def _fits(value: Any, depth: int) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST and not set(value) & {"/", "\\"}
    return depth > 0 or not isinstance(value, Mapping | list | tuple)


def read_cells(path: Path) -> list[tuple[int, FinishedCell]]:
    """(number of the line, cell) of every line; [] if there is no file. A last line that was cut off does not count.

    Raises: StorageError naming the file and the first line that is damaged, or of a version that this one cannot read.
    """
    with storage_errors(f"{path}: cannot be read"):
        lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    if not _is_whole(lines[-1]):
        lines[-1] = b""
    return [(number, _cell(line, f"{path}:{number}")) for number, line in enumerate(lines, start=1) if line.strip()]


def has_cut_end(path: Path) -> bool:
    """Whether the last line was cut off, as a process that is killed while it writes leaves it. Raises: OSError."""
    last = path.read_bytes().rpartition(b"\n")[2] if path.exists() else b""
    return bool(last) and not _is_whole(last)


def append_cells(path: Path, cells: Iterable[FinishedCell]) -> None:
    """Add cells and wait until the disk has them; a last line that was cut off is taken out first.

    One process at a time may do this: the study's lock is held. Raises: StorageError.
    """
    data = b"".join(cell.line() for cell in cells)
    with storage_errors(f"{path}: cannot be written"):
        is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            before = path.read_bytes()
            *_, last = before.split(b"\n")
            end = len(before)
            if last and not _is_whole(last):
                end -= len(last)
                os.ftruncate(descriptor, end)
            elif last:  # an editor or a mail took the newline alone
                data = b"\n" + data
            try:
                while data:
                    data = data[os.write(descriptor, data) :]
            except OSError:
                os.ftruncate(descriptor, end)
                raise
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            sync_folder(path.parent)


def write_cells(path: Path, cells: Iterable[FinishedCell]) -> None:
    """Replace the file. Raises: StorageError."""
    with storage_errors(f"{path}: cannot be written"):
        write_file(path, b"".join(cell.line() for cell in cells))


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(parse(line), dict)
    except ValueError:
        return False


def _cell(line: bytes, place: str) -> FinishedCell:
    remedy = "bring the file back from where it was made, or take this line out"
    told = parse_object(line, place, remedy)
    if told.get("format") != FORMAT:
        raise StorageError(
            f"{place}: a cell in format {told.get('format')!r}, and this version of rnnlab reads {FORMAT}; {remedy}"
        )
    for name, kind in _FIELDS.items():
        if not isinstance(told.get(name), kind) or isinstance(told[name], bool):
            raise StorageError(f"{place}: {name} is {told.get(name)!r:.60}; {remedy}")
    _check_result(told["result"], place, remedy)
    found = {name: told[name] for name in _FIELDS}
    found["bindings"] = tuple(map(str, told["bindings"]))
    found["versions"] = {str(name): str(version) for name, version in told["versions"].items()}
    return FinishedCell(**found)


def _check_result(result: Mapping[str, Any], place: str, remedy: str) -> None:
    """Raises: StorageError if it is not that of a run that came to its end, or a score is no number."""
    if (status := result.get("status")) not in ENDED:
        raise StorageError(
            f"{place}: the status of its result is {status!r:.60}, and not {' or '.join(ENDED)}; {remedy}"
        )
    for key, value in result.items():
        if key.endswith(SCORES) and (isinstance(value, bool) or not isinstance(value, int | float | None)):
            raise StorageError(f"{place}: {key:.60} is {value!r:.60}, which is no number; {remedy}")
    if status == "done" and not any(key.endswith(SCORES) for key in result):
        raise StorageError(f"{place}: its result has no score; {remedy}")


_FIELDS: dict[str, type] = {
    **dict.fromkeys(("variant", "config_sha", "source_sha", "processor", "device"), str),
    "seed": int, "bindings": list, "versions": dict, "result": dict,
}  # fmt: skip

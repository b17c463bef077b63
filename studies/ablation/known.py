"""Which cells of an ablation are done: those whose folders are here, and those that `cells.jsonl` files tell of.

The folders are the truth. `cells.jsonl` in the study's folder has a line for each finished cell, and is made from them;
`tuning.jsonl` has the same of those that settings are chosen by. Both may also hold cells that were trained elsewhere,
whose folders are not here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import rnnlab
from rnnlab.console import say
from rnnlab.errors import ConfigError
from rnnlab.safe_text import hide_secrets
from rnnlab.storage.cells import (
    CELLS_FILE,
    FinishedCell,
    Key,
    append_cells,
    finished_cell,
    has_cut_end,
    read_cells,
    without_folders,
    write_cells,
)
from rnnlab.storage.durable import storage_errors
from rnnlab.storage.runfolder import RunFolder
from rnnlab.studies.ablation.cells import Cell
from rnnlab.studies.launch.run import finished


@dataclass(frozen=True)
class KnownCells:
    """What is known of those cells of a study that are compared, or of those of its tuning.

    Attributes:
        here: by the folders of its runs.
        told: by files alone.
        read: for each file, those of its cells that are taken as done, and how many cells it has.
    """

    here: Mapping[Key, FinishedCell]
    told: Mapping[Key, FinishedCell]
    read: Mapping[Path, tuple[list[FinishedCell], int]] = field(default_factory=dict)

    def result(self, cell: Cell) -> dict[str, Any] | None:
        """What the cell reached, as in result.json, with the "processor" it ran on; None if it is not done."""
        known = self.here.get(cell.key) or self.told.get(cell.key)
        return None if known is None else {**known.result, "processor": known.processor}

    def results(self, cells: Iterable[Cell]) -> dict[int, dict[str, Any]]:
        """The same by seed, of those cells of a variant that are done."""
        found = {cell.seed: self.result(cell) for cell in cells}
        return {seed: result for seed, result in found.items() if result is not None}

    def is_done(self, cell: Cell) -> bool:
        return cell.key in self.here or cell.key in self.told


def known_cells(own: Path, cells: Sequence[Cell], others: Sequence[Path] = ()) -> KnownCells:
    """What is known of cells; nothing is written.

    Args:
        own: the study's file of them, which need not be there.
        others: files of cells that were trained elsewhere, as `rnnlab ablate --with` names them.
    Raises: ConfigError if one is not there, or a cell is told twice with different results; StorageError naming the
        file and line of what is damaged, or of a version that this one cannot read.
    """
    planned = {cell.key: cell for cell in cells}
    here = {key: found for key, cell in planned.items() if (found := _from_folder(cell)) is not None}
    places: dict[Key, tuple[str, FinishedCell]] = {
        key: (str(planned[key].folder), cell) for key, cell in here.items() if others
    }
    told: dict[Key, FinishedCell] = {}
    read: dict[Path, tuple[list[FinishedCell], int]] = {}
    for path in [own, *others]:
        if path != own and path.is_dir():
            raise ConfigError(f"--with {path}: is a folder; name the {CELLS_FILE} in it")
        if path != own and not path.is_file():
            raise ConfigError(f"--with {path}: there is no such file; name the {CELLS_FILE} of a study's folder")
        taken = dict[Key, FinishedCell]()
        lines = read_cells(path)
        for number, line in lines:
            if line.key not in planned or (path == own and line.key in here):
                continue  # of another baseline, or with its folder, which is the truth
            cell = _named(line, planned[line.key])
            where, earlier = places.setdefault(cell.key, (f"{path}:{number}", cell))
            _refuse_other_results(where, earlier, f"{path}:{number}", cell)
            if cell.key not in here and (path == own or cell.key not in told):
                taken[cell.key] = told[cell.key] = cell
        if path != own:
            read[path] = list(taken.values()), len(lines)
        elif taken:
            read[path] = list(taken.values()), len(taken)
    return KnownCells(here, told, read)


def say_what_is_known(tuning: KnownCells, compared: KnownCells) -> None:
    """A line for each file that cells were taken from, or that was named in vain."""
    for path in dict.fromkeys([*tuning.read, *compared.read]):
        of_tuning, count = tuning.read.get(path, ([], 0))
        seen, count = compared.read.get(path, ([], count))
        taken = [*of_tuning, *seen]
        names = "; ".join([*([f"{len(of_tuning)} of tuning"] if of_tuning else []), *_shown(seen)])
        names = f": {names}" if names else ""
        rest = "" if len(taken) == count else "; the others are known, or are no cells of this study"
        say(f"{path}: {len(taken)} of {count} cells are taken as done{names}{rest}")
        if foreign := sorted({_versions(cell) for cell in taken} - {_our_versions()}):
            say(
                f"{path}: cells of {' and of '.join(foreign)} are among them, and this is {_our_versions()}: numbers "
                f"may differ between versions"
            )
        with storage_errors(f"{path}: cannot be read"):
            if has_cut_end(path):
                say(f"{path}: its last line was cut off and is left out")


class CellsFile:
    """`cells.jsonl` or `tuning.jsonl` of a study whose lock is held."""

    def __init__(self, path: Path, cells: Sequence[Cell], known: KnownCells) -> None:
        """Bring the file up to what is known: it may be missing, cut off, or older than the folders.

        Raises: StorageError.
        """
        self._path = path
        self._cells = {cell.folder: cell for cell in cells}
        now = {**known.told, **known.here}
        before = [cell for _, cell in read_cells(self._path)]
        lines = {cell.key: now.get(cell.key, cell) for cell in before}
        missing = [cell for key, cell in now.items() if key not in lines]
        if list(lines.values()) != before:
            write_cells(self._path, [*lines.values(), *missing])
        elif missing or self._path.exists():
            append_cells(self._path, missing)

    def note(self, folder: Path) -> None:
        """Add the cell in this folder, which has ended. Raises: StorageError."""
        if (cell := self._cells.get(folder)) is not None and (found := _from_folder(cell)) is not None:
            append_cells(self._path, [found])


def _from_folder(cell: Cell) -> FinishedCell | None:
    result = finished(cell.folder)
    if result is None:
        return None
    return finished_cell(RunFolder.open(cell.folder), result, cell.name, cell.seed, cell.variant.bindings)


def _named(cell: FinishedCell, planned: Cell) -> FinishedCell:
    """A cell of a file as this study calls it."""
    bindings = tuple(without_folders(hide_secrets(binding)) for binding in planned.variant.bindings)
    return replace(cell, variant=planned.name, bindings=bindings)


def _refuse_other_results(place: str, one: FinishedCell, other_place: str, other: FinishedCell) -> None:
    """Raises: ConfigError unless both are the same results; what they cost may differ."""
    here, there = one.scores(), other.scores()
    differing = [key for key in here if key in there and here[key] != there[key]]
    if differing:
        key = differing[0]
        raise ConfigError(
            f"variant {one.variant!r} with seed {one.seed} is there twice with different results: {key} is {here[key]} "
            f"in {place} ({_origin(one)}) and {there[key]} in {other_place} ({_origin(other)}); leave one of them out"
        )


def _origin(cell: FinishedCell) -> str:
    return f"{_versions(cell)}, {cell.processor or 'a processor of unknown name'}"


def _versions(cell: FinishedCell) -> str:
    return ", ".join(f"{name} {cell.versions.get(name, 'unknown')}" for name in ("rnnlab", "torch"))


def _our_versions() -> str:
    from importlib.metadata import version

    return f"rnnlab {rnnlab.__version__}, torch {version('torch')}"


def _shown(cells: Iterable[FinishedCell]) -> Iterator[str]:
    seeds: dict[str, list[str]] = {}
    for cell in cells:
        seeds.setdefault(cell.variant, []).append(str(cell.seed))
    for variant, of in seeds.items():
        yield f"{variant} ({'seed' if len(of) == 1 else 'seeds'} {', '.join(of)})"

"""What runs reached as rows of one table: `rnnlab.results`, made for `pandas.DataFrame`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rnnlab.errors import StorageError
from rnnlab.storage.cells import CELLS_FILE, VERSIONS, FinishedCell, Key, portable, read_cells
from rnnlab.storage.runfolder import RunFolder
from rnnlab.views.metrics import by_difficulty
from rnnlab.views.runs import Run, differing, find_runs, read_run

Row = dict[str, Any]
SIZES = {
    "parameters",
    "parameters_deployable",
    "macs_per_byte",
    "state_floats",
}  # that a run has before it has a result
UNSAID = ("test_by", "status", "seed", "device")  # figures that have a place of their own in a row


def results(path: str | Path) -> list[Row]:
    """A row for each run: `pandas.DataFrame(rnnlab.results("runs/core_swap"))`.

    Args:
        path: the folder of a study, a folder of runs, a run, or a `cells.jsonl`.
    Returns: flat rows. Each has "run", its folder, which is None of a cell that was trained elsewhere; "variant",
        "seed", "status", "bindings" (what differs from the study's baseline, with "; " between), "config_sha",
        "source_sha", "processor", "device", "rnnlab" and "torch"; then the figures of result.json, what is nested there
        under names as "protocol.memory", the test by difficulty as "test_accuracy@256". Runs in folders have the keys
        in which their configurations differ, too.
    Raises: StorageError if there is no run, or a file is damaged.
    """
    path = Path(path)
    if path.is_file():
        return [_of_cell(cell) for _, cell in read_cells(path)]
    told = dict(_told(path / CELLS_FILE))
    try:
        found = find_runs(path)
    except StorageError:
        if not told:
            raise
        found = []
    outside = dict[Key, FinishedCell]()  # of a study around `path`: its other cells were not asked for
    for study in dict.fromkeys(run.parents[2] for run in found if run.parent.parent.name == "cells"):
        (told if study == path or path in study.parents else outside).update(_told(study / CELLS_FILE))
    runs = [read_run(folder, str(folder)) for folder in found]
    columns = differing([run.bindings for run in runs])
    bound = [{key: of[i] for key, of in columns.items()} for i in range(len(runs))]
    rows = [_of_run(run, told, outside, differs) for run, differs in zip(runs, bound, strict=True)]
    return [*rows, *map(_of_cell, told.values())]


def _told(path: Path) -> Iterator[tuple[Key, FinishedCell]]:
    return ((cell.key, cell) for _, cell in read_cells(path))


def _of_cell(cell: FinishedCell) -> Row:
    return {
        "run": None,
        "variant": cell.variant,
        "seed": cell.seed,
        "status": cell.result.get("status"),
        "bindings": "; ".join(cell.bindings),
        "config_sha": cell.config_sha,
        "source_sha": cell.source_sha,
        "processor": cell.processor,
        "device": cell.device,
        **{name: cell.versions.get(name) for name in VERSIONS},
        **_figures(cell.result),
    }


def _of_run(
    run: Run, told: dict[Key, FinishedCell], outside: Mapping[Key, FinishedCell], bindings: Mapping[str, str | None]
) -> Row:
    """The row of a run; its cell is taken out of `told`, where it is one."""
    folder = RunFolder.open(run.path)
    facts, environment = run.facts, folder.environment
    seed = run.seed if run.seed is not None else facts.get("seed")
    key = (folder.config_sha, seed, folder.corpus_sha) if isinstance(seed, int) else None
    cell = (told.pop(key, None) or outside.get(key)) if key else None
    figures = facts.keys() - environment.keys() | (folder.result() or {}).keys() | SIZES
    reached = {key: value for key, value in facts.items() if key in figures}
    return {
        "run": str(run.path),
        "variant": cell.variant if cell else environment.get("variant", run.path.name),
        "seed": seed,
        "status": run.status,
        "bindings": "; ".join(cell.bindings) if cell else "",
        "config_sha": folder.config_sha,
        "source_sha": folder.corpus_sha,
        "processor": environment.get("device_name"),
        "device": facts.get("device"),
        **{name: environment.get(name) for name in VERSIONS},
        **_figures(portable(reached)),
        **bindings,
    }


def _figures(result: Mapping[str, Any]) -> Row:
    row: Row = {}
    for key, value in result.items():
        if isinstance(value, Mapping):
            row |= {f"{key}.{name}": _plain(one) for name, one in value.items()}
        elif key not in UNSAID:
            row[key] = _plain(value)
    for difficulty, figures in by_difficulty(result).items():
        row |= {f"test_{name}@{difficulty}": _plain(one) for name, one in figures.items() if one != difficulty}
    return row


def _plain(value: Any) -> Any:
    """A value of one cell of a table."""
    return value if value is None or isinstance(value, int | float | str) else str(value)

"""Runs whose folders are elsewhere, as the `cells.jsonl` of a study tells of them: what they reached, no curves."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rnnlab.errors import RnnlabError
from rnnlab.storage.cells import CELLS_FILE, FinishedCell, read_cells
from rnnlab.storage.runfolder import RunFolder
from rnnlab.views.metrics import is_task
from rnnlab.views.naming import study_name
from rnnlab.views.runs import Run, facts_of_task, natural, parse_bindings


def files_of_cells(path: Path) -> list[Path]:
    """The file itself; of a folder every `cells.jsonl` in it or below, in natural order."""
    if path.is_file():
        return [path]
    found = [Path(folder) / CELLS_FILE for folder, _, names in os.walk(path) if CELLS_FILE in names]
    return sorted(found, key=natural)


def told_runs(files: Sequence[Path], here: Sequence[Run]) -> list[Run]:
    """A run for each line. Of one that is here as well the configuration is known, of the others their deltas.

    Raises: StorageError naming the file and the line of what is damaged.
    """
    known = _by_hash(here) if files else {}
    return [_run(path, cell, known.get(cell.config_sha)) for path in files for _, cell in read_cells(path)]


def _by_hash(runs: Sequence[Run]) -> dict[str, Run]:
    found = {}
    for run in runs:
        with suppress(RnnlabError):  # of another version: it is shown, and not recognized
            found[RunFolder.open(run.path).config_sha] = run
    return found


def _run(path: Path, cell: FinishedCell, twin: Run | None) -> Run:
    study = study_name(path.parent)
    facts = {**facts_of_task({}, cell.result), **cell.result} if is_task(cell.result) else cell.result
    folder = path.parent / "cells" / cell.variant / f"seed-{cell.seed}"  # where it would lie, and nobody looks
    return Run(
        name=folder.name,
        path=folder,
        status=str(cell.result["status"]),
        seed=cell.seed,
        bindings=_bindings(study, cell) if twin is None else twin.bindings,
        facts={**facts, "variant": f"{cell.variant} ({study})"},
        curves={},
        deltas=cell.bindings if twin is None else None,
    )


def _bindings(study: str, cell: FinishedCell) -> Mapping[str, str]:
    """Enough to tell variants apart."""
    return {"study": repr(study), "variant": repr(cell.variant), **parse_bindings("\n".join(cell.bindings))}

"""Runs whose folders are elsewhere, as the `cells.jsonl` of a study tells of them: what they reached, no curves."""

import os
from collections.abc import Sequence
from pathlib import Path

from rnnlab.storage.cells import CELLS_FILE, FinishedCell, read_cells
from rnnlab.views.metrics import is_task
from rnnlab.views.naming import study_name
from rnnlab.views.runs import Run, facts_of_task, natural, parse_bindings


def files_of_cells(path: Path) -> list[Path]:
    """The file itself; of a folder every `cells.jsonl` in it or below, in natural order."""
    if path.is_file():
        return [path]
    found = [Path(folder) / CELLS_FILE for folder, _, names in os.walk(path) if CELLS_FILE in names]
    return sorted(found, key=natural)


def told_runs(files: Sequence[Path]) -> list[Run]:
    """A run for each line. Its bindings are what its study says that it differs in, and the study.

    Raises: StorageError naming the file and the line of what is damaged.
    """
    return [_run(path, cell) for path in files for _, cell in read_cells(path)]


def _run(path: Path, cell: FinishedCell) -> Run:
    study = study_name(path.parent)
    facts = {**facts_of_task({}, cell.result), **cell.result} if is_task(cell.result) else cell.result
    folder = path.parent / "cells" / cell.variant / f"seed-{cell.seed}"  # where it would lie, and nobody looks
    return Run(
        name=folder.name,
        path=folder,
        status=str(cell.result["status"]),
        seed=cell.seed,
        bindings={"study": repr(study), **parse_bindings("\n".join(cell.bindings))},
        facts={**facts, "variant": f"{cell.variant} ({study})"},
        curves={},
    )

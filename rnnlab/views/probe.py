"""`rnnlab probe`: pictures of what a run's model does with a text, or a task. Training is not touched."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rnnlab.api import LoadedRun, load, text_of
from rnnlab.console import say
from rnnlab.data.task_source import TaskSource
from rnnlab.errors import ConfigError, DataError, Diverged
from rnnlab.storage.durable import storage_errors, write_file
from rnnlab.storage.runfolder import check_no_link
from rnnlab.views import probe_pictures, task_pictures
from rnnlab.views.board import PICTURES
from rnnlab.views.events import EventFile
from rnnlab.views.examination import SMALLEST, examine
from rnnlab.views.findings import Findings
from rnnlab.views.inspection import inspect_loaded
from rnnlab.views.task_examination import TaskFindings, default_difficulty, examine_task


def probe(
    run: str | Path,
    out: Path | None = None,
    *,
    corpus: str | None = None,
    split: str = "valid",
    size: int = 100_000,
    at: int | None = None,
    best: bool = False,
    device: str = "auto",
    arrays: Path | None = None,
) -> dict[str, Any]:
    """Look at what a run's model does with a text, or with the examples of its task, and draw it: as PNG, and for the
    run's page in TensorBoard.

    Args:
        out: where the pictures go; None for `probe/` in the run.
        size: about how much of the split to read [bytes].
        at: of a task, the difficulty of the examples; None for the greatest that is trained on and can be drawn.
        run, corpus, split, best, device: as for `rnnlab.evaluate`.
        arrays: of a task, an .npz to write with what `rnnlab.inspect` gives of its first example; None for none.
    Returns: the figures that the pictures show, and the paths of what was written under "files".
    Raises: ConfigError, DataError, StorageError in the user's words; Diverged if the model's BPC is not finite.
    """
    loaded = load(run, best=best, device=device, needs_source=corpus is None)
    source = loaded.experiment.source
    if isinstance(source, TaskSource) and corpus is None:
        return _probe_task(loaded, source, out, at, arrays)
    if arrays is not None:
        raise ConfigError(f"--arrays {arrays}: it takes the text that they are about: --text FILE")
    if at is not None:
        raise ConfigError(f"--at {at}: {run} was trained on a text, which has no difficulties")
    part = text_of(loaded, split, corpus)
    if size < SMALLEST:
        raise ConfigError(f"--bytes {size}: a probe reads {SMALLEST} bytes or more")
    if len(part) < SMALLEST:
        raise DataError(f"{part.file.path}: the {split} split has {len(part)} bytes, and a probe needs {SMALLEST}")
    findings = examine(loaded.model, part[:size], progress=True)
    if not math.isfinite(findings.bpc):
        raise Diverged(f"{run}: the {split} BPC is {findings.bpc}: the parameters or what they give are not finite")
    return _keep(loaded, findings, lambda: probe_pictures.draw(findings), out)


def _probe_task(
    loaded: LoadedRun, source: TaskSource, out: Path | None, at: int | None, arrays: Path | None
) -> dict[str, Any]:
    difficulty = default_difficulty(source) if at is None else at
    if difficulty < 1:
        raise ConfigError(f"--at {at}: a difficulty is a whole number above 0")
    if arrays is not None:
        inspect_loaded(loaded, at=difficulty).save(arrays)
    findings = examine_task(loaded.model, source, difficulty)
    told = _keep(loaded, findings, lambda: task_pictures.draw(findings), out)
    return {**told, "files": [*told["files"], *([] if arrays is None else [str(arrays)])]}


def _keep(
    loaded: LoadedRun, findings: Findings | TaskFindings, draw: Callable[[], Mapping[str, Figure]], out: Path | None
) -> dict[str, Any]:
    """Write figures and pictures down."""
    folder = check_no_link(loaded.folder.path / "probe") if out is None else out
    fields = dataclasses.asdict(findings, dict_factory=lambda pairs: {name: _plain(value) for name, value in pairs})
    told = {"step": loaded.snapshot.step, **fields}
    with storage_errors(f"{folder}: cannot be written"):
        folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / "probe.json", (json.dumps(told, indent=1) + "\n").encode())
        files = draw_pictures(
            draw, folder, loaded.folder.tensorboard, loaded.snapshot.step, "probe.json has the figures"
        )
    return {**told, "files": [str(path) for path in (*files, folder / "probe.json")]}


def draw_pictures(
    draw: Callable[[], Mapping[str, Figure]], folder: Path, tensorboard: Path, step: int, instead: str
) -> list[Path]:
    """Write what `draw` gives as PNG, and for the run's page in TensorBoard.

    Args:
        instead: what has the same content, for the line that says that nothing can be drawn.
    Returns: the files; none if they cannot be drawn, which is no error. Raises: OSError if they cannot be written.
    """
    files: list[Path] = []
    try:
        pictures = {name: probe_pictures.to_png(figure) for name, figure in draw().items()}
    except Exception as error:
        say(f"{folder}: the pictures cannot be drawn ({type(error).__name__}: {error}); {instead}")
        return files
    with EventFile(tensorboard, PICTURES) as page:
        for name, (png, size) in pictures.items():
            page.picture(f"probe/{name}", png, size, step)
            files.append(folder / f"{name}.png")
            write_file(files[-1], png)
    return files


def _plain(value: Any) -> Any:
    """For JSON: arrays as lists, bytes as text."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value

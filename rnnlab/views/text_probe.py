"""`rnnlab probe RUN --text FILE`: a text of the user's, colored by how surprised the run's model is, and its arrays."""

from pathlib import Path
from typing import Any

from rnnlab.errors import ConfigError, DataError
from rnnlab.storage.durable import storage_errors, write_file
from rnnlab.storage.runfolder import RunFolder, check_no_link
from rnnlab.views.inspection import inspect
from rnnlab.views.probe import draw_pictures
from rnnlab.views.text_page import render_text
from rnnlab.views.text_picture import draw_text


def probe_text(
    run: str | Path,
    text: str | Path,
    out: Path | None = None,
    *,
    arrays: Path | None = None,
    size: int = 100_000,
    best: bool = False,
    memory: int | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Let a run's model read a file, and write `text.png` and `text.html`.

    Args:
        text: any file; its bytes are read as they are.
        out: where picture and page go; None for `probe/` in the run.
        arrays: an .npz to write with what `rnnlab.inspect` gives; None for none.
        size: how much of the file to read, from its beginning [bytes].
        run, best, memory, device: as for `rnnlab.inspect`.
    Returns: step, text, bytes_read, bpc, memory, and the paths of what was written under "files".
    Raises: DataError if the file cannot be read; StorageError if something cannot be written; else as `rnnlab.inspect`.
    """
    if size < 2:
        raise ConfigError(f"--bytes {size}: two or more, since nothing predicts the first byte")
    found = inspect(run, _beginning(text, size), best=best, memory=memory, attention=arrays is not None, device=device)
    name = Path(text).name
    folder = check_no_link(found.run / "probe") if out is None else out
    with storage_errors(f"{folder}: cannot be written"):
        folder.mkdir(parents=True, exist_ok=True)
        if arrays is not None:
            found.save(arrays)
        page = folder / "text.html"
        write_file(page, render_text(found, name).encode())
        tensorboard = RunFolder.open(run).tensorboard
        pictures = draw_pictures(
            lambda: {"text": draw_text(found, name)}, folder, tensorboard, found.step, "text.html has the text"
        )
    files = [*pictures, page, *([] if arrays is None else [arrays])]
    told = {
        "step": found.step,
        "text": name,
        "bytes_read": len(found["text"]),
        "bpc": found.bpc,
        "memory": found.memory,
    }
    return {**told, "files": [str(path) for path in files]}


def _beginning(path: str | Path, size: int) -> bytes:
    try:
        with open(path, "rb") as file:
            text = file.read(size)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {(error.strerror or str(error)).lower()}; name a file that can"
        ) from None
    if len(text) < 2:
        raise DataError(f"{path} has {len(text)} bytes: a probe needs two, since nothing predicts the first of them")
    return text

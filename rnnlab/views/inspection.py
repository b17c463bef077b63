"""What a run's model does at every position of a text, or of an example of its task, as arrays: `rnnlab.inspect`."""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rnnlab.api import LoadedRun, load
from rnnlab.data.task_source import TaskSource
from rnnlab.errors import ConfigError, Diverged
from rnnlab.evaluation import longest_memory, with_memory
from rnnlab.scoring.losses import LN2, cross_entropy
from rnnlab.storage.durable import storage_errors, write_file
from rnnlab.training.threads import choose_threads, using_threads
from rnnlab.views.reading import Reading, read_positions
from rnnlab.views.task_examination import default_difficulty

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Inspection:
    """What was seen of n positions. `inspection["surprisal"]` is short for `inspection.arrays["surprisal"]`.

    N is the index of a layer in `model.blocks`, from 0; row i is about what position i gave, once it was read. A part
    that a block keeps under another name than `core` or `attention` has that name behind N: `attention.0.second`.

    | array | shape | content |
    | --- | --- | --- |
    | `surprisal` | (n,) float64 | text: of byte i, given all bytes before it [bits]; nan at the first. Task: of the right answer at position i, given what was read up to there, itself included [bits]; nan where nothing is asked |
    | `hidden.N` | (n, D) float32 | output of layer N |
    | `attention.N` | (H, n, n) float32 | share of its attention that head h of row i gives to position j; a row adds up to 1 and is 0 for j > i and beyond the window |
    | `forget_gate.N` | (n, channels) float32 | share of its state that each channel of the core keeps, in [0, 1] |
    | `text` | (n,) uint8 | of a text: its bytes |
    | `tokens`, `targets`, `answers` | (n,) int64 | of a task: what was read, what is right, what the model says |
    | `asked` | (n,) bool | of a task: where something is asked |
    """  # noqa: E501

    run: Path
    step: int  # of the checkpoint
    memory: int | None  # the longest window that was used [positions]; None without attention
    arrays: Mapping[str, Array]

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in self.arrays.items())
        return f"Inspection({self.run}, step {self.step}: {shapes})"

    @property
    def bpc(self) -> float | None:
        """Mean surprisal of a text [bits/byte], its first byte not counted; None of a task."""
        return float(np.nanmean(self.arrays["surprisal"])) if "text" in self.arrays else None

    def save(self, path: str | Path) -> None:
        """Write the arrays as a compressed .npz, which `numpy.load` opens. Raises: StorageError."""
        content = io.BytesIO()
        np.savez_compressed(content, **self.arrays)  # type: ignore[arg-type]
        with storage_errors(f"{path}: cannot be written"):
            write_file(Path(path), content.getvalue())


def inspect(
    run: str | Path,
    text: bytes | str | None = None,
    *,
    at: int | None = None,
    example: int = 0,
    best: bool = False,
    memory: int | None = None,
    attention: bool = True,
    device: str = "auto",
) -> Inspection:
    """Let a run's model read a text, or an example of its task, and keep what it does at every position.

    rnnlab.inspect("runs/a", b"def main():").arrays["surprisal"]

    The state and the memory are empty at the first position, and are carried over all of them, as in an evaluation.

    Args:
        run: the folder.
        text: what to read, at least two bytes; a str is read as UTF-8. None for a run on a task.
        at: of a task, the difficulty of the example; None for the greatest that is trained on and can be drawn.
        example: of a task, the number of the test example, from 0.
        best: the best checkpoint in place of the newest.
        memory: positions that each query may see in place of the run's own [positions]; None for its own.
        attention: keep the attention weights, which take 4 H n^2 bytes a layer.
        device: as for `rnnlab.evaluate`.
    Returns: an `Inspection`: `.arrays` by name, `.bpc`, `.save(path)`.
    Raises: ConfigError for a text that a run on a task cannot read, a difficulty that a text does not have, a text too
        short, or so long that its arrays do not fit; StorageError if the run cannot be loaded; Diverged if the model
        gives numbers that are not finite.
    """
    loaded = load(run, best=best, device=device)
    return inspect_loaded(loaded, text, at=at, example=example, memory=memory, attention=attention)


def inspect_loaded(
    loaded: LoadedRun,
    text: bytes | str | None = None,
    *,
    at: int | None = None,
    example: int = 0,
    memory: int | None = None,
    attention: bool = True,
) -> Inspection:
    """The same of a run that was loaded; another memory stays set on its model."""
    run, source = loaded.folder.path, loaded.experiment.source
    _set_memory(loaded, memory)
    with using_threads(choose_threads(loaded.experiment, loaded.folder.environment.get("threads"))):
        if isinstance(source, TaskSource):
            if text is not None:
                raise ConfigError(
                    f"{run} was trained on the task {source.name}, whose tokens are no bytes: it cannot read a text; "
                    "name a difficulty and the number of an example instead (`at`, `example`)"
                )
            arrays = _of_example(loaded, source, at, example, attention)
        else:
            if at is not None or example:
                raise ConfigError(f"{run} was trained on a text: it has no difficulties and no examples; give a text")
            arrays = _of_text(loaded, _as_bytes(run, text), attention)
    return Inspection(run, loaded.snapshot.step, longest_memory(loaded.model), arrays)


def _set_memory(loaded: LoadedRun, memory: int | None) -> None:
    if memory is None:
        return
    if memory < 1:
        raise ConfigError(f"memory {memory}: a query sees at least itself, so 1 [positions] is the shortest")
    attentions = with_memory(loaded.model)
    if not attentions:
        raise ConfigError(
            f"memory {memory}: no attention of {loaded.folder.path} has a memory; leave it out for this run"
        )
    for part in attentions:
        part.memory = memory


def _as_bytes(run: str | Path, text: bytes | str | None) -> bytes:
    if text is None:
        raise ConfigError(f"{run} was trained on a text: give it one to read, bytes or a str")
    try:
        read = text.encode(errors="surrogateescape") if isinstance(text, str) else bytes(text)
    except UnicodeEncodeError as error:
        raise ConfigError(f"the text cannot be written as UTF-8 ({error.reason}); give its bytes") from None
    if len(read) < 2:
        raise ConfigError(f"a text of {len(read)} bytes: give two or more, since nothing predicts the first of them")
    return read


def _of_text(loaded: LoadedRun, text: bytes, attention: bool) -> dict[str, Array]:
    content = np.frombuffer(text, dtype=np.uint8)
    tokens = torch.from_numpy(content.astype(np.int64))
    reading = read_positions(loaded.model, tokens, attention)
    surprisal = np.full(len(text), np.nan)
    surprisal[1:] = _surprisal(loaded, reading.logits[:-1], tokens[1:])
    return {"text": content, "surprisal": surprisal, **_seen(reading)}


def _of_example(
    loaded: LoadedRun, source: TaskSource, at: int | None, example: int, attention: bool
) -> dict[str, Array]:
    difficulty = default_difficulty(source) if at is None else at
    if difficulty < 1 or example < 0:
        raise ConfigError(
            f"difficulty {difficulty}, example {example}: whole numbers, a difficulty from 1 and an example from 0"
        )
    made = source.make("test", difficulty, np.array([example]))
    targets, asked = made.targets[0].astype(np.int64), made.weights[0] > 0
    tokens = torch.from_numpy(made.inputs[0].astype(np.int64))
    reading = read_positions(loaded.model, tokens, attention)
    surprisal = np.full(len(tokens), np.nan)
    rows = torch.from_numpy(asked)
    surprisal[asked] = _surprisal(loaded, reading.logits[rows], torch.from_numpy(targets)[rows])
    found = {"tokens": tokens.numpy(), "targets": targets, "answers": reading.logits.argmax(-1).numpy(), "asked": asked}
    return {**found, "surprisal": surprisal, **_seen(reading)}


def _surprisal(loaded: LoadedRun, logits: Tensor, targets: Tensor) -> Array:
    """logits (n, V), targets (n,) -> (n,) [bits]. Raises: Diverged if one is not finite."""
    bits: Array = cross_entropy(logits.unsqueeze(1), targets.unsqueeze(1), reduction="none").double().numpy() / LN2
    if not math.isfinite(bits.sum()):
        raise Diverged(f"{loaded.folder.path}: a surprisal is not finite: the parameters or what they give are not")
    return bits


def _seen(reading: Reading) -> dict[str, Array]:
    return {name: x.numpy() for name, x in reading.seen.items()}

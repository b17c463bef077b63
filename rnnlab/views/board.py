"""TensorBoard's view of runs and studies; metrics.jsonl is the truth, from which the view is written anew whenever a
run begins or goes on. So a resumed run has no point twice, and one that was killed has lost none. What the page calls a
step is bytes that were trained on, of a task positions: runs of different batches are beside each other there.

A row of the HParams page is a variant, whose seeds are its sessions. A session's status is running until its run ends;
then success, failure, or unknown for one that was stopped and can go on.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tensorboard.plugins.hparams import api_pb2, metadata

from rnnlab.errors import RunHeldError, Stopped, StorageError
from rnnlab.storage.metrics import read
from rnnlab.storage.runfolder import RunFolder
from rnnlab.views.events import PATTERN, EventFile
from rnnlab.views.hparams import Value, default_variant, experiment, is_on_task, session_end, session_start
from rnnlab.views.metrics import by_difficulty, difficulty_of, number

OURS = "bytes"  # how the name of a run's own file ends
OVER_STEPS = ".run"  # and that of one of an earlier version, whose points stand over steps
PICTURES = "pictures"  # of `rnnlab probe`; they outlast the run's own file
TAGS = {
    ("train", "bpc"): "bpc/train",
    ("train", "accuracy"): "accuracy/train",
    ("train", "bytes_per_second"): "machine/bytes_per_second",
    ("train", "memory_mb"): "machine/memory_mb",
    ("train", "grad_norms"): "grad_norm",
    ("train", "figures"): "part",
    ("valid", "valid_bpc"): "bpc/valid",
    ("valid", "best_valid_bpc"): "best/valid_bpc",
    ("valid", "valid_accuracy"): "accuracy/valid",
    ("valid", "valid_nats"): "nats/valid",
    ("valid", "best_valid_accuracy"): "best/valid_accuracy",
    ("valid", "best_valid_nats"): "best/valid_nats",
    ("valid", "seconds_evaluating"): "machine/seconds_evaluating",
    ("valid", "seconds_saving"): "machine/seconds_saving",
}
"""Tag of a field of metrics.jsonl where it is not `kind/field`."""

UNDRAWN = ("kind", "step", "bytes", "seconds", "bytes_scored", "examples", "answers")
AT_THE_END = {
    "test_bpc": "bpc/test",
    "test_accuracy": "accuracy/test",
    "test_nats": "nats/test",
    "bytes_per_second": "cost/bytes_per_second",  # of the whole run; the curve has that of its last steps
}
"""Tag of a figure of result.json."""

ENDED = {"done": int(api_pb2.STATUS_SUCCESS), "diverged": int(api_pb2.STATUS_FAILURE)}
"""Status of a session by that of result.json."""

LEARNING = {"Valid BPC": ["bpc/valid"], "Best valid BPC": ["best/valid_bpc"], "Training BPC": ["bpc/train"]}
LEARNING_TASKS = {
    "Valid accuracy": ["accuracy/valid"],
    "Valid loss [nats]": ["nats/valid"],
    "Training accuracy": ["accuracy/train"],
    "Test accuracy by difficulty": ["by_.*/accuracy"],
}
COSTS = ("parameters", "macs_per_byte", "state_floats")  # of the environment, known before the first step
CHARTS = {
    "Optimization": {
        "Learning rate": ["train/lr"],
        "Gradient norm, before clipping": ["train/grad_norm"],
        "Gradient norm by part": ["grad_norm/.*"],
        "What parts tell": ["part/.*"],
    },
    "Machine": {
        "Bytes per second": ["machine/bytes_per_second"],
        "Memory [MB]": ["machine/memory_mb"],
        "Training waited [s]": ["machine/seconds_evaluating", "machine/seconds_saving"],
    },
}


class BoardObserver:
    """Shows a run while it trains: called with each record of metrics.jsonl, within a `with` around the training."""

    def __init__(self, folder: RunFolder) -> None:
        """Args:
        folder: of the run, held; its journal is cut back to where the run goes on. "variant" in its environment names
            its row of the HParams page, the same for every seed; without one the folder does. `rnnlab board` tells
            which of these are seeds of one configuration.
        """
        self._folder = folder
        self._variant = str(folder.environment.get("variant") or default_variant(folder.path))
        self._bytes = 0  # trained so far

    def __enter__(self) -> Self:
        folder, records = self._folder, read(self._folder.journal.path)
        stale = own_files(folder)
        self._started = time.time() - max((record.get("seconds") or 0.0 for record in records), default=0.0)
        self._file = EventFile(folder.tensorboard, OURS)
        self._file.add(session_start(self._variant, folder.config_text, self._started))
        self._file.text("configuration", f"```\n{folder.config_text}```")
        costs = {f"cost/{name}": folder.environment.get(name) for name in COSTS}
        self._file.scalars({tag: value for tag, value in costs.items() if value is not None}, 0, self._started)
        for record in records:
            self(record)
        remove(stale)  # after the new file: a death in between leaves points twice until the next start, never none
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.end(_status(kind), self._folder.result() if kind is None else None)

    def end(self, status: int, result: Mapping[str, Any] | None) -> None:
        """Args: status: of the session; result: as result.json has it, if training came to its end."""
        if result is not None:
            self._show_test(result)
        self._file.add(session_end(status))
        self._file.close()

    def __call__(self, record: Mapping[str, Any]) -> None:
        points = scalars(record)
        self._bytes = record.get("bytes", self._bytes)  # a record that does not say stands where the one before does
        if points:
            self._file.scalars(points, self._bytes, self._at(record))

    def _show_test(self, result: Mapping[str, Any]) -> None:
        for position, figures in test_points(result):
            self._file.scalars(figures, position, self._at(result))

    def _at(self, record: Mapping[str, Any]) -> float:
        """When, on a clock that counts training only: the page's relative axis leaves out pauses and evaluations."""
        return self._started + float(record.get("seconds") or 0.0)


def _status(kind: type[BaseException] | None) -> int:
    if kind is None:
        return int(api_pb2.STATUS_SUCCESS)
    is_failure = issubclass(kind, Exception) and not issubclass(kind, Stopped)
    return int(api_pb2.STATUS_FAILURE if is_failure else api_pb2.STATUS_UNKNOWN)


def scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """The points that a record of metrics.jsonl stands for, by tag; a field of numbers by part is a tag a part."""
    points, kind = {}, str(record.get("kind"))
    for name, value in record.items():
        tag = TAGS.get((kind, name), f"{kind}/{name}")
        for end, figure in value.items() if isinstance(value, Mapping) else [("", value)]:
            if name not in UNDRAWN and isinstance(figure, int | float):  # null stands for what is not finite
                points[f"{tag}/{end}" if end else tag] = float(figure)
    return points


def test_points(result: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, float]]]:
    """(where it stands, figures by tag) of the test and the whole run: all at the bytes that were trained on, and of a
    task a curve over the difficulties, which take the place of bytes."""
    reached = {tag: value for key, tag in AT_THE_END.items() if (value := number(result.get(key))) is not None}
    if reached:
        yield int(result["bytes_trained"]), reached
    for difficulty, row in by_difficulty(result).items():
        tags = {f"by_{difficulty_of(result)}/{key}": number(row.get(key)) for key in ("accuracy", "nats", "chance")}
        yield difficulty, {tag: value for tag, value in tags.items() if value is not None}


def own_files(folder: RunFolder) -> list[Path]:
    """The event files that observers wrote; those with pictures are the probe's."""
    return [path for path in sorted(folder.tensorboard.glob(PATTERN)) if path.suffix != f".{PICTURES}"]


def write_over_bytes(folder: RunFolder) -> None:
    """Write the view anew that an earlier version wrote over steps, of a run that no process holds."""
    if not any(path.suffix == OVER_STEPS for path in own_files(folder)):
        return
    with suppress(RunHeldError, StorageError), folder.hold():
        result = folder.result() or {}
        observer = BoardObserver(folder).__enter__()
        observer.end(ENDED.get(str(result.get("status")), int(api_pb2.STATUS_UNKNOWN)), result or None)


def mark_killed(folder: RunFolder) -> None:
    """End the session of a run that is not held by a process and did not end it itself: it was killed."""
    files = own_files(folder)
    if not files or any(_ends_session(path) for path in files):
        return
    with suppress(RunHeldError, StorageError), folder.hold(), EventFile(folder.tensorboard, OURS) as file:
        file.add(session_end(api_pb2.STATUS_FAILURE))


def _ends_session(path: Path) -> bool:
    """Whether the file's last record, of some hundred bytes at most, is the end of a session."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 512))
        return metadata.SESSION_END_INFO_TAG.encode() in file.read()
    return False


def remove(files: Iterable[Path]) -> None:
    for path in files:
        with suppress(OSError):  # it is only a view
            path.unlink()


def charts(variants: Sequence[Mapping[str, Value]]) -> dict[str, dict[str, list[str]]]:
    """Of the custom scalars page: what is learned, BPC of text and accuracy of tasks, and what training takes."""
    on_task = {is_on_task(values) for values in variants}
    learning = (LEARNING_TASKS if True in on_task else {}) | (LEARNING if on_task != {True} else {})
    counted = "Positions per second" if on_task == {True} else "Bytes per second"
    machine = {title.replace("Bytes per second", counted): tags for title, tags in CHARTS["Machine"].items()}
    return {"Learning": learning, **CHARTS, "Machine": machine}


def describe_study(file: EventFile, variants: Sequence[Mapping[str, Value]]) -> None:
    """Write what TensorBoard needs to know of runs together: the columns of HParams, and the custom scalars page.

    Args:
        variants: the hyperparameters of each variant, as `hyperparameters(config.text)` gives them.
    """
    file.add(experiment(variants))
    file.layout(charts(variants))


def write_study_root(folder: Path, variants: Sequence[Mapping[str, Value]]) -> None:
    """Write what `describe_study` does in an event file at the root of a study, for a TensorBoard that is started there
    without `rnnlab board`. It replaces the one of an earlier call.

    Args:
        folder: of the study, with the runs below it.
        variants: see `describe_study`.
    """
    stale = list(folder.glob(PATTERN))
    with EventFile(folder, "study") as file:
        describe_study(file, variants)
    remove(stale)

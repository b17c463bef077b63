"""The folder of a run: what it was told, what it wrote, and who may write there.

    config.gin  operative.gin  environment.json  metrics.jsonl  result.json  checkpoints/  tb/  lock

A folder with config.gin in it is a run; that file is written last.
"""

import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from rnnlab import config
from rnnlab.config import identity
from rnnlab.console import say
from rnnlab.errors import ConfigError, FolderLost, RunHeldError, StorageError
from rnnlab.locks import LOCK, Lock, LockLost, LockTaken, locked_folder
from rnnlab.storage import checkpoint
from rnnlab.storage.checkpoint import Snapshot
from rnnlab.storage.durable import STAGED, storage_errors, write_file
from rnnlab.storage.jsonfile import read_object
from rnnlab.storage.metrics import Journal, to_json
from rnnlab.storage.writer import Writer

CONFIG = "config.gin"
OPERATIVE = "operative.gin"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
RESULT = "result.json"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tb"
RESUMED = "resumed.gin"

FORMAT = 2
"""Of the folder, in environment.json. 0.1.0 wrote none there, and other words in config.gin."""


def new_folder(path: Path) -> Path:
    """Make a folder that was not there: `path`, or the first of `path-2`, `path-3`, ... Raises: StorageError."""
    with storage_errors(f"{path}: the run cannot be kept there"):
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            made = path if number == 1 else path.with_name(f"{path.name}-{number}")
            with suppress(FileExistsError):
                made.mkdir()
                break
        return made


def check_no_link(folder: Path) -> Path:
    """A folder within that of a run. Raises: FolderLost if a link is in its place."""
    if folder.is_symlink():
        raise FolderLost(
            f"{folder}: a link is in the way, and a run writes to no folder but its own; put the folder itself there, "
            f"or remove the link"
        )
    return folder


class RunFolder:
    """One run on disk. Reading needs nothing; whoever writes does so inside `hold()`."""

    def __init__(self, path: Path, config_text: str, environment: Mapping[str, Any]) -> None:
        """For `create` and `open`, which check what they pass."""
        self.path = path
        self.config_text = config_text
        self.environment = {**environment, "format": FORMAT}
        self.journal = Journal(path / METRICS)
        self.checkpoints = path / CHECKPOINTS
        self.tensorboard = path / TENSORBOARD
        self.writer = Writer()  # of checkpoints, while training goes on; none writes once the folder is let go
        self._lock: Lock | None = None

    def __reduce__(self) -> tuple[type[Self], tuple[Path, str, Mapping[str, Any]]]:
        """As the other ranks get it: without what this process holds or writes."""
        return type(self), (self.path, self.config_text, self.environment)

    @classmethod
    def create(cls, path: Path | str, config_text: str, operative_text: str, environment: Mapping[str, Any]) -> Self:
        """Start a run in a folder that holds none; files of others in it are left alone.

        Args:
            config_text: the resolved configuration, from which the run can be loaded again.
            operative_text: the same for a human reader.
            environment: on what it runs; "corpus_sha" is the sha256 of its text.
        Raises: ConfigError if the folder holds a run, or something by the name of a file of one; RunHeldError if a run
            is starting in it right now; StorageError.
        """
        folder = cls(Path(path), config_text, environment)
        with storage_errors(f"{folder.path}: the run cannot be kept there"):
            folder.path.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(folder.path / LOCK):
                folder._check_vacant()  # before there is a lock: where nothing is started, nothing is left
            with folder._locked():
                folder._check_vacant()
                write_file(folder.path / ENVIRONMENT, (json.dumps(folder.environment, indent=1) + "\n").encode())
                write_file(folder.path / OPERATIVE, operative_text.encode())
                write_file(folder.path / CONFIG, config_text.encode())
        return folder

    def _check_vacant(self) -> None:
        """Raises: ConfigError if a run is there, or what a run would write over, remove or read as its own."""
        for name in (CONFIG, METRICS, RESULT, CHECKPOINTS):
            if os.path.lexists(self.path / name):
                raise ConfigError(
                    f"{self.path}: holds a run already ({name}); `rnnlab resume {self.path}` continues it, "
                    f"--run NEW_FOLDER starts another"
                )
        begun = (ENVIRONMENT, OPERATIVE) if self._is_cut_start() else ()
        for name in (ENVIRONMENT, OPERATIVE, RESUMED, TENSORBOARD):
            if name not in begun and os.path.lexists(self.path / name):
                raise ConfigError(
                    f"{self.path / name}: not of a run, and a run would put its own there; move it away, or start the "
                    f"run in a folder of its own (--run NEW_FOLDER)"
                )

    def _is_cut_start(self) -> bool:
        """Whether a start of ours was cut short here: it makes the lock, then this file, which says its format."""
        path = self.path / ENVIRONMENT
        if not (self.path / LOCK).is_file() or path.is_symlink() or not path.is_file():
            return False
        try:
            return isinstance(read_object(path, "").get("format"), int)
        except StorageError:
            return False

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """A run started before. Raises: ConfigError if the folder holds none; StorageError if it cannot be read."""
        path = Path(path)
        if not (path / CONFIG).is_file():
            raise ConfigError(f"{path}: not the folder of a run: it has no {CONFIG}")
        config_text = _read_text(path / CONFIG)
        environment = read_object(path / ENVIRONMENT, "restore it from a copy; without it nobody knows the text")
        if environment.get("format") != FORMAT:
            raise StorageError(
                f"{path}: a run of rnnlab {environment.get('rnnlab', 'of another version')}, which this version cannot "
                f"read; open it with that version, or train its configuration anew"
            )
        return cls(path, config_text, environment)

    def config(self) -> config.Config:
        """Raises: ConfigError if this version cannot make sense of it."""
        return config.load(self.path / CONFIG)

    def resumed_with(self) -> list[str]:
        """The bindings that earlier resumptions changed and that still count, oldest first."""
        path = self.path / RESUMED
        return _read_text(path).splitlines() if path.exists() else []

    def note_resumption(self, overrides: Sequence[str]) -> None:
        """Keep what a resumption changed. Raises: StorageError."""
        if overrides:
            self.check_place()
            with storage_errors(f"{self.path / RESUMED}: cannot be written"):
                lines = config.with_later(self.resumed_with(), overrides)
                write_file(self.path / RESUMED, "".join(f"{line}\n" for line in lines).encode())

    @property
    def config_sha(self) -> str:
        """Of what the configuration is, wherever its files lie."""
        return hashlib.sha256(identity(self.config_text).encode()).hexdigest()

    @property
    def corpus_sha(self) -> str:
        return str(self.environment.get("corpus_sha") or "")

    @contextmanager
    def hold(self) -> Iterator[Self]:
        """Be the one process that writes here, and sweep up after one that died.

        The lock is the kernel's and dies with the process; forked children share it.

        Raises: RunHeldError if another process holds the run; StorageError if the folder cannot be written, or a link
            leads out of it.
        """
        with self._locked():
            self.check_place()
            with storage_errors(f"{self.path}: leftovers cannot be removed"):
                for name in (CONFIG, OPERATIVE, ENVIRONMENT, METRICS, RESULT, RESUMED):
                    (self.path / f"{STAGED}{name}").unlink(missing_ok=True)
            checkpoint.sweep(self.checkpoints)
            try:
                yield self
            finally:
                try:
                    self.writer.close()
                finally:
                    self.journal.close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with ExitStack() as held:
            with storage_errors(f"{self.path / LOCK}: cannot be locked"):
                try:
                    self._lock = held.enter_context(locked_folder(self.path))
                except LockTaken as holder:
                    raise RunHeldError(f"{self.path}: held by {holder}; wait for it, or stop it first") from None
            held.callback(setattr, self, "_lock", None)
            yield

    def check_place(self) -> None:
        """Before anything is written, swept or pruned.

        Raises: FolderLost if this is no longer the folder that is held, or a link leads out of it; StorageError if
            that cannot be told.
        """
        for folder in (self.checkpoints, self.tensorboard):
            check_no_link(folder)
        if self._lock is not None:
            try:
                with storage_errors(f"{self.path / LOCK}: cannot be looked at"):
                    self._lock.check()
            except LockLost:
                raise FolderLost(
                    f"{self.path}: the folder or its {LOCK} was removed, moved or replaced while the run was going; "
                    f"nothing more is written. `rnnlab resume` goes on from the last checkpoint, wherever that is now"
                ) from None

    def save(self, snapshot: Snapshot, keep: int = 2) -> None:
        """Add a checkpoint, after the journal is safe; see `checkpoint.save`. One call at a time, in any thread.

        Raises: StorageError if either cannot be written, FolderLost if the folder is no longer there; the checkpoints
            of before are whole.
        """
        self.check_place()
        self.journal.sync()
        own = replace(snapshot, config_sha=self.config_sha, corpus_sha=self.corpus_sha)
        try:
            checkpoint.save(self.checkpoints, own, keep, self.check_place)
        except StorageError:
            self.check_place()  # who moves a folder while it is written to makes the write fail in many ways
            raise

    def newest(self, at_most: int | None = None) -> Snapshot:
        """The newest checkpoint that verifies, up to step `at_most`; those passed over are named on stderr.

        Raises: StorageError if none verifies, or if it is not of this run.
        """
        return self._accepted(*checkpoint.newest(self.checkpoints, at_most))

    def has_checkpoints(self) -> bool:
        """Whether there is any, whole or not. A run that died before its first save has none, and starts anew."""
        with storage_errors(f"{self.checkpoints}: cannot be read"):
            return self.checkpoints.is_dir() and any(self.checkpoints.glob(f"{checkpoint.STEP}*"))

    def newest_step(self) -> int | None:
        """Of the newest checkpoint, by its manifest alone; None if there is none. Raises: StorageError."""
        return checkpoint.newest_step(self.checkpoints)

    def best(self) -> Snapshot:
        """The checkpoint with the lowest valid BPC that verifies, or the newest if none was scored; as `newest`."""
        return self._accepted(*checkpoint.best(self.checkpoints))

    def _accepted(self, snapshot: Snapshot, damage: list[str]) -> Snapshot:
        for line in damage:
            say(f"damaged, not used: {line}")
        if damage:
            say(f"the checkpoint of step {snapshot.step} is whole and takes its place")
        checkpoint.check_same_experiment(snapshot, config_sha=self.config_sha, corpus_sha=self.corpus_sha)
        return snapshot

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Replace result.json. Raises: StorageError."""
        self.check_place()
        with storage_errors(f"{self.path / RESULT}: cannot be written"):
            write_file(self.path / RESULT, (to_json(result) + "\n").encode())

    def discard_result(self) -> None:
        """Remove the result of a run that goes on: until it ends again it has none. Raises: StorageError."""
        self.check_place()
        with storage_errors(f"{self.path / RESULT}: cannot be removed"):
            (self.path / RESULT).unlink(missing_ok=True)

    def result(self) -> dict[str, Any] | None:
        """What result.json says; None if the run has not come to an end. Raises: StorageError."""
        path = self.path / RESULT
        return read_object(path, "remove it, and `rnnlab resume` writes it anew") if path.exists() else None


def _read_text(path: Path) -> str:
    """Raises: StorageError if it cannot be read, or is no text."""
    with storage_errors(f"{path}: cannot be read"):
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise StorageError(f"{path}: not UTF-8 text ({error.reason}); restore it from a copy") from error

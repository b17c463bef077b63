"""The checkpoints of a run: when one is due, what is copied for it, and what becomes of one that cannot be written.

The state is copied while training waits, and a thread writes the copy while training goes on. A save that comes due
while one is being written waits for it. So there is one copy, and at a kill the newest checkpoint on the disk is the
last but one at worst.
"""

import time
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from rnnlab.console import say
from rnnlab.errors import FolderLost, StorageError, is_out_of_memory
from rnnlab.storage.checkpoint import Snapshot
from rnnlab.storage.runfolder import RunFolder
from rnnlab.training.learner import Learner
from rnnlab.training.ranks import Ranks

MOST_FAILED_SAVES = 3  # in a row, before the run gives up


class HostCopy:
    """Tensors copied to the host's memory, which is kept for the next copy: as much as they have [bytes]."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same numbers in memory of our own, until the next call; from a GPU into pinned memory, all at once."""
        self._buffers = {name: self._fitting(name, x) for name, x in tensors.items()}
        for name, x in tensors.items():
            self._buffers[name].copy_(x.detach(), non_blocking=True)
        for device in {x.device for x in tensors.values() if x.is_cuda}:
            torch.cuda.current_stream(device).synchronize()
        return self._buffers

    def _fitting(self, name: str, x: Tensor) -> Tensor:
        old = self._buffers.get(name)
        if old is not None and (old.shape, old.dtype, old.is_pinned()) == (x.shape, x.dtype, x.is_cuda):
            return old
        return torch.empty(x.shape, dtype=x.dtype, pin_memory=x.is_cuda)


class Saver:
    """Saves a run. With several ranks, all have to call `save` and `settle` together; rank 0 alone writes."""

    def __init__(self, learner: Learner, folder: RunFolder, ranks: Ranks) -> None:
        self._learner, self._folder, self._ranks, self._trainer = learner, folder, ranks, learner.trainer
        self._copy = HostCopy()
        self._saved: tuple[int, int] | None = None  # (step, records) of the newest checkpoint, written or being written
        self._is_writing = False  # as far as all ranks know
        self._failures = 0  # in a row
        self._last = time.monotonic()  # [s] when the last checkpoint was taken
        self.is_time = False  # by the clock of rank 0, as all ranks agreed

    @property
    def clock_struck(self) -> bool:
        """Whether a checkpoint is due by this process's clock; that of rank 0 counts."""
        seconds = self._trainer.seconds_between_saves()
        return self._ranks.first and seconds is not None and time.monotonic() - self._last >= seconds

    @property
    def has_failed(self) -> bool:
        """Whether this process has a failure to tell, by `settle`."""
        return self._folder.writer.has_failed

    def is_due(self) -> bool:
        step, every = self._learner.progress.step, self._trainer.save_every
        return step == 0 or self.is_time or (every is not None and step % every == 0)

    def note_saved(self) -> None:
        """This very state is on the disk."""
        self._saved = self._place()

    def save(self, must: bool = False) -> None:
        """Take a checkpoint of this very state, unless there is one; if it `must` be written, wait for the disk.

        Raises: StorageError if one that must be written cannot be, or for the third failure in a row; FolderLost.
        """
        started = time.perf_counter()
        try:
            self._settle()
            if self._saved != self._place():
                self._save(must)
        finally:
            self._count_seconds_since(started)

    def _save(self, must: bool) -> None:
        snapshot = self._learner.snapshot()
        self._last, self.is_time, self._is_writing = time.monotonic(), False, not must
        try:
            self._ranks.broadcast_from_rank0(lambda: self._write(snapshot, must))
        except StorageError as failure:
            self._is_writing = False
            self._count_failure(failure, must)
        else:
            self._saved = self._place()
            self._failures = 0 if must else self._failures

    def settle(self) -> None:
        """Wait for the checkpoint that is being written. Raises: as `save` does for one that need not be written."""
        started = time.perf_counter()
        try:
            self._settle()
        finally:
            self._count_seconds_since(started)

    def _settle(self) -> None:
        if not self._is_writing:
            return
        self._is_writing = False
        try:
            self._ranks.broadcast_from_rank0(self._folder.writer.wait)
        except StorageError as failure:
            self._saved = None
            self._count_failure(failure)
        else:
            self._failures = 0

    def close(self) -> None:
        """Wait for what this process writes, and say so if that fails: for a run that ends by another error."""
        try:
            self._folder.writer.wait()
        except StorageError as failure:
            say(str(failure))

    def _write(self, snapshot: Snapshot, must: bool) -> None:
        keep = self._trainer.keep
        copied = None if must else self._copied(snapshot)
        if copied is None:
            self._folder.save(snapshot, keep)
        else:
            self._folder.writer.start(lambda: self._folder.save(copied, keep))

    def _copied(self, snapshot: Snapshot) -> Snapshot | None:
        """None if the host has no memory for a copy: then training waits for the disk."""
        try:
            return replace(snapshot, tensors=self._copy.take(snapshot.tensors))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _count_failure(self, failure: StorageError, must: bool = False) -> None:
        self._failures += 1
        if must or isinstance(failure, FolderLost) or self._failures >= MOST_FAILED_SAVES:
            raise failure
        if self._failures == 1 and self._ranks.first:
            say(f"{failure}; going on, the checkpoint before is whole")

    def _count_seconds_since(self, started: float) -> None:
        p = self._learner.progress
        self._learner.progress = replace(p, seconds_saving=p.seconds_saving + time.perf_counter() - started)

    def _place(self) -> tuple[int, int]:
        return self._learner.progress.step, self._learner.progress.records

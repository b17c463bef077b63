"""A thread that writes while its process goes on: one write at a time, and never longer than its owner wants."""

from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from rnnlab.errors import StorageError, is_out_of_memory

CHECKPOINT_THREAD = "rnnlab checkpoint"


class Writer:
    """Runs one function at a time in a thread, and keeps its error for who waits for it.

    The thread is no daemon: Python does not end while it writes. One owner uses the writer, from one thread.
    """

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._failure: BaseException | None = None

    @property
    def has_failed(self) -> bool:
        """Whether a write has ended with an error that `wait` has not raised yet."""
        return self._failure is not None

    def start(self, write: Callable[[], object]) -> None:
        """Run `write` in the thread. The one before has been waited for.

        Where the system has no thread to give, the caller waits instead.
        """
        assert self._thread is None, "one write at a time"
        thread = Thread(target=self._run, args=[write], name=CHECKPOINT_THREAD)
        try:
            thread.start()
        except RuntimeError:
            self._run(write)
        else:
            self._thread = thread

    def _run(self, write: Callable[[], object]) -> None:
        try:
            write()
        except BaseException as error:
            self._failure = error

    def wait(self) -> None:
        """Until nothing is written any more. Raises: the error of the write, once."""
        self._join()
        failure, self._failure = self._failure, None
        if failure is not None and is_out_of_memory(failure):
            raise StorageError(f"a checkpoint cannot be saved: not enough memory ({failure})") from failure
        if failure is not None:
            raise failure

    def _join(self) -> None:
        """An error that a signal raises meanwhile has to wait as well: who leaves early lets go of the folder."""
        if self._thread is None:
            return
        interruption: BaseException | None = None
        while self._thread.is_alive():
            try:
                self._thread.join()
            except BaseException as error:
                interruption = error
        self._thread = None
        if interruption is not None:
            raise interruption

    def close(self) -> None:
        """Wait, whatever became of the write: for who ends by an error of its own."""
        with suppress(StorageError):
            self.wait()

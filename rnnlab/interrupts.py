"""SIGINT and SIGTERM as a request to stop: at the next safe place of a run, and at once where nothing is at stake."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, Self

from rnnlab.errors import Stopped


class Interrupts:
    """Within the block a signal is noted instead of raised; `check()` raises it where the run's state is whole.

    A second signal changes nothing. Outside the main thread, where Python delivers no signals, the block does nothing.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number)

    def check(self) -> None:
        """Raises: Stopped if a signal has come."""
        if self.received is not None:
            raise Stopped(self.received)


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Within the block SIGTERM raises Stopped where it finds the program, as SIGINT raises KeyboardInterrupt.

    What is held is let go and the exit code is that of a signal. Outside the main thread the block does nothing.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Stopped(signal.Signals(number))

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)

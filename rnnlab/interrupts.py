"""Signals as a request to stop: at the next safe place of a run, and at once where nothing is at stake.

Beside SIGINT and SIGTERM those by which terminals and schedulers say that the end is near: SIGHUP, SIGUSR1, SIGUSR2 and
SIGXCPU. A signal that is ignored when the block begins, as nohup does with SIGHUP, stays ignored.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, Self

from rnnlab.errors import Stopped

REQUESTS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU"))


class Interrupts:
    """Within the block a signal is noted instead of raised; `check()` raises it where the run's state is whole.

    A second signal changes nothing. Outside the main thread, where Python delivers no signals, the block does nothing.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _heard():
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


class _Signal(BaseException):
    """A signal on its way out of a block: like KeyboardInterrupt, it is no error that something within may handle."""

    def __init__(self, signal: signal.Signals) -> None:
        super().__init__(signal)
        self.signal = signal


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """A signal ends the block where it finds the program; SIGINT raises KeyboardInterrupt, as always.

    What is held is let go and the exit code is that of a signal. Outside the main thread the block does nothing.
    Raises: Stopped out of the block; within it `except Exception` takes no signal for a fault of what it tries.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise _Signal(signal.Signals(number))

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, stop) for number in _heard() if number is not signal.SIGINT}
    try:
        yield
    except _Signal as received:
        raise Stopped(received.signal) from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _heard() -> list[signal.Signals]:
    """SIGINT always: a shell starts what it puts in the background deaf to it, and a study's workers with it."""
    return [n for n in REQUESTS if n is signal.SIGINT or signal.getsignal(n) is not signal.SIG_IGN]

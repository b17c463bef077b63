"""A signal that ends a command at once is no error of what it finds at work."""

import os
import signal
from contextlib import suppress

import pytest

from rnnlab.errors import Stopped
from rnnlab.interrupts import stopping_at_once


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGXCPU])
def test_a_signal_passes_what_handles_every_error_and_ends_the_block(number: signal.Signals) -> None:
    handled, let_go, went_on = [], [], []

    def work() -> None:
        try:
            with suppress(Exception):
                os.kill(os.getpid(), number)
        except Exception as error:
            handled.append(error)
        finally:
            let_go.append(True)
        went_on.append(True)

    with pytest.raises(Stopped) as stopped, stopping_at_once():
        work()
    assert stopped.value.exit_code == 128 + number
    assert (handled, let_go, went_on) == ([], [True], [])


def test_the_handlers_of_before_are_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopping_at_once():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before

"""Long work says how far it has come, also where there is no terminal."""

import os

import pytest

from rnnlab import progress
from rnnlab.progress import ProgressBar


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(progress, "time", one)
    monkeypatch.setattr(progress, "_last_line", {})
    return one


def test_without_a_terminal_a_line_is_written_every_ten_seconds(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with ProgressBar("train", 1_000_000, done=100_000) as bar:
        for step in range(1, 46):
            clock.now += 1.0
            bar.show(100_000 + 2_000 * step, loss="1.500")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0] == "rnnlab: train 120,000 of 1,000,000 bytes (12%), 2,000 bytes/s, 07:20 left, loss 1.500"


def test_what_comes_next_does_not_start_the_ten_seconds_anew(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(4):
        with ProgressBar("evaluate", 100) as bar:
            clock.now += 3.0
            bar.show(50)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_fork_that_begins_late_does_not_speak_at_once(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress._last_line[os.getpid() + 1] = clock.now  # of the process that forked us
    clock.now += 60.0
    with ProgressBar("train", 100) as bar:
        clock.now += 1.0
        bar.show(50)
    assert capsys.readouterr().err == ""


def test_a_silent_one_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("train", 100, shown=False) as bar:
        clock.now += 60.0
        bar.show(50)
    assert capsys.readouterr().err == ""

"""A thread that writes: one write at a time, its error for who waits, and no end before it is through."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rnnlab.errors import RunHeldError, StorageError
from rnnlab.storage.runfolder import RunFolder
from rnnlab.storage.writer import Writer


def fail(error: BaseException) -> None:
    raise error


def test_the_caller_goes_on_while_the_thread_writes() -> None:
    writer, may_end, done = Writer(), threading.Event(), list[str]()
    writer.start(lambda: (may_end.wait(20.0), done.append("written")))
    assert done == []
    may_end.set()
    writer.wait()
    assert done == ["written"]


@pytest.mark.parametrize("error", [StorageError("no"), ValueError("a bug")])
def test_the_error_of_a_write_is_raised_once_to_who_waits(error: Exception) -> None:
    writer = Writer()
    writer.start(lambda: fail(error))
    with pytest.raises(type(error), match=str(error)):
        writer.wait()
    assert not writer.has_failed
    writer.wait()
    writer.start(lambda: None)
    writer.wait()


def test_a_write_without_enough_memory_is_a_save_that_failed() -> None:
    writer = Writer()
    writer.start(lambda: fail(MemoryError()))
    with pytest.raises(StorageError, match="not enough memory"):
        writer.wait()


WITHOUT_THREADS = """
import resource
from rnnlab.storage.writer import Writer

taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 2**20, taken + 2**20))  # less than the stack of a thread
writer = Writer()
writer.start(lambda: print("written", flush=True))
writer.wait()
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux says how much memory a process has")
def test_where_there_is_no_thread_to_be_had_the_caller_writes() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_THREADS], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "written\n"), done.stderr


def test_a_signal_that_raises_waits_for_the_write() -> None:
    writer, done = Writer(), list[str]()

    def write() -> None:
        time.sleep(0.1)
        signal.raise_signal(signal.SIGINT)  # Python runs the handler in the main thread
        time.sleep(0.3)
        done.append("written")

    writer.start(write)
    with pytest.raises(KeyboardInterrupt):
        writer.wait()
    assert done == ["written"]


def test_a_folder_is_held_until_nothing_is_written_any_more(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "Trainer.seed = 1\n", "", {})
    turned_away = list[str]()

    def write() -> None:
        time.sleep(0.2)
        try:
            with RunFolder.open(folder.path).hold():
                pass
        except RunHeldError as error:
            turned_away.append(str(error))

    with folder.hold():
        folder.writer.start(write)
    assert len(turned_away) == 1
    with folder.hold():
        pass

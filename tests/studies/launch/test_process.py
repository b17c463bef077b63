"""Whether a process still runs, asked by another that may be elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

from rnnlab.studies.launch.process import UNKNOWN, may_be_running, process_identity


def ended() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        process.wait()
    return process.pid


def test_a_process_is_gone_only_if_its_number_counts_here_and_is_nobodys_or_anothers() -> None:
    here = process_identity()
    assert here == process_identity(os.getpid())
    assert may_be_running(here)
    assert not may_be_running({**here, "pid": ended()})
    assert not may_be_running({**here, "started": here["started"] + 1})
    for elsewhere in ({"host": "another"}, {"namespace": "pid:[1]"}):
        assert may_be_running({**here, **elsewhere, "pid": ended()})
    signed_before_namespaces_counted = {key: here[key] for key in ("host", "pid", "started")}
    assert may_be_running({**signed_before_namespaces_counted, "pid": ended()})


def test_a_process_that_the_system_tells_nothing_of_may_run_as_long_as_its_number_is_taken() -> None:
    unknown = {**process_identity(), "started": UNKNOWN}
    assert may_be_running(unknown)
    assert not may_be_running({**unknown, "pid": ended()})


def test_a_process_that_has_ended_and_was_not_waited_for_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE) as process:
        identity = process_identity(process.pid)
        assert process.stdout is not None
        process.stdout.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{process.pid}").exists()
        assert not may_be_running(identity)

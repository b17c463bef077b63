"""The identity of a process, from which others can tell whether it still runs."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any


def process_identity() -> dict[str, Any]:
    """The identity of this process: its machine, its number, and when it was started."""
    return {"host": _machine(), "pid": os.getpid(), "started": _started(os.getpid())}


def may_be_running(identity: Mapping[str, Any]) -> bool:
    """False only if it is certain: the process is one of this machine, and has ended."""
    return bool(identity["host"] != _machine() or _started(identity["pid"]) == identity["started"])


@cache
def _machine() -> str:
    """This machine since it was started."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()} {boot.read_text().strip()}" if boot.exists() else socket.gethostname()


def _started(pid: int) -> int | None:
    """When a process was started [clock ticks since boot], so that a number that is used again is told apart; -1 where
    the system does not say; None if there is no such process, or it has ended."""
    try:
        if Path("/proc/self").exists():
            state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            return None if state in "ZX" else int(fields[18])
        with suppress(PermissionError):  # of another user
            os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return -1

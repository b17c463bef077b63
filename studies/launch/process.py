"""The identity of a process, from which others can tell whether it still runs."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

UNKNOWN = -1


def process_identity(pid: int | None = None) -> dict[str, Any]:
    """The identity of this process, or of another that it can see: the machine, the namespace in which its number
    counts, its number, and when it was started."""
    pid = os.getpid() if pid is None else pid
    return {"host": _machine(), "namespace": _namespace(), "pid": pid, "started": _started(pid)}


def may_be_running(identity: Mapping[str, Any]) -> bool:
    """False only if it is certain: the process is one of this machine and namespace, and has ended."""
    if (identity["host"], identity.get("namespace")) != (_machine(), _namespace()):
        return True  # here its number is another process, or none
    started = _started(identity["pid"])
    return started is not None and (started == identity["started"] or UNKNOWN in (started, identity["started"]))


@cache
def _machine() -> str:
    """This machine since it was started."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()} {boot.read_text().strip()}" if boot.exists() else socket.gethostname()


def _namespace() -> str:
    """Where numbers and times of processes mean what they mean to us; containers of one machine may share its name."""
    names = ""
    for kind in ("pid", "time"):
        with suppress(OSError):  # another system, or a kernel without it
            names += os.readlink(f"/proc/self/ns/{kind}")
    return names


def _started(pid: int) -> int | None:
    """When a process was started [clock ticks since boot], so that a number that is used again is told apart; UNKNOWN
    where the system does not say; None if there is no such process, or it has ended."""
    try:
        with suppress(PermissionError):  # of another user
            os.kill(pid, 0)
        if os.readlink("/proc/self") != str(os.getpid()):
            return UNKNOWN  # /proc was mounted in another namespace
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except ProcessLookupError:
        return None
    except OSError:  # there is no /proc, or it hides the processes of others
        return UNKNOWN
    return None if state in "ZX" else int(fields[18])

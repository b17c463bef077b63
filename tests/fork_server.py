"""Starts rnnlab's command line again and again in processes of their own, without importing torch each time.

Reads one JSON request a line and answers each with a line: {"start": {...}} forks a child and gives its pid, {"wait":
pid} gives its exit status once it has ended, negative if a signal ended it. Ends with its standard input.
"""

import importlib
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import rnnlab.api
import rnnlab.cli
import rnnlab.config
import rnnlab.generation
import rnnlab.studies.commands
import rnnlab.studies.search.driver
import rnnlab.views.board
from rnnlab.storage.writer import CHECKPOINT_THREAD


def main() -> None:
    torch.set_num_threads(1)  # a fork has none of its parent's threads
    rnnlab.config.resolve(["sha_rnn", "size/tiny"])  # imports the parts
    rnnlab.ops.native.kernels()
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = start(**request["start"]) if "start" in request else wait(request["wait"], request["timeout"])
        print(json.dumps(answer), flush=True)


def start(
    arguments: list[str],
    output: str,
    faults: list[dict[str, Any]],
    largest_file: int | None,
    folder: str,
    environment: dict[str, str],
) -> int:
    """Args:
    arguments: of the command line.
    output: where stdout and stderr go: this path with .out and .err.
    faults: see `inject`.
    largest_file: RLIMIT_FSIZE [bytes], as a full disk.
    folder: to work in.
    environment: all of it; what is read while torch is imported is the server's.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        for descriptor, end in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(output + end, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # which was ours, and has the next requests
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for fault in faults:
            inject(**fault)
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        code = rnnlab.cli.main(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def inject(
    target: str, call: int, signals: Sequence[str] = (), room: int | None = None, once_saved: bool = False
) -> None:
    """Before the given call of a function, the first being 1, the process sends itself signals, or loses memory.

    Args:
        target: "module:Class.method" or "module:function".
        once_saved: wait first for the checkpoint that a thread still writes, however slow the disk.
        room: how much larger the process may become from there on [bytes].
    """
    module, _, path = target.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for step in owners:
        owner = getattr(owner, step)
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def faulty(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            while once_saved and any(thread.name == CHECKPOINT_THREAD for thread in threading.enumerate()):
                time.sleep(0.001)
            for number in signals:
                signal.raise_signal(signal.Signals[number])
            if room is not None:
                limit = memory_taken() + room
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        return real(*arguments, **keywords)

    setattr(owner, name, faulty)


def memory_taken() -> int:
    """The addresses that this process has [bytes]; Linux alone says so."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def wait(child: int, timeout: float) -> int | None:
    """None if it has not ended by then [s]."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


if __name__ == "__main__":
    main()

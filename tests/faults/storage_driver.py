"""Processes that die, run out of disk, or hold a run, for the tests of storage. Run as a script; answers in JSON.

    storage_driver.py deaths FOLDER RANDOM     deaths around each change on disk of a save, then RANDOM anywhere
    storage_driver.py full FOLDER              saves under a limit on the size of files
    storage_driver.py unwritable FOLDER        starts a run as a user who may not write there
    storage_driver.py hold FOLDER              holds a run until it is killed, or exits as the command line would

It imports torch once and forks for each fault.
"""

import itertools
import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rnnlab.errors import RnnlabError
from rnnlab.storage.checkpoint import Snapshot
from rnnlab.storage.runfolder import RunFolder

NOBODY = 65534


def snapshot(step: int, note: str = "", size: int = 1000) -> Snapshot:
    return Snapshot(step, step, {"model/weight": torch.full((size,), float(step))}, {"note": note})


def new_run(path: Path) -> RunFolder:
    return RunFolder.create(path, "Trainer.seed = 1\n", "", {"corpus_sha": "d" * 64})


def run_with_two_checkpoints(path: Path) -> RunFolder:
    folder = new_run(path)
    with folder.hold():
        for step in (1, 2):
            folder.journal.append({"step": step})
            folder.save(snapshot(step, "old"))
    return folder


def in_child(body: Callable[[], object]) -> int:
    """Run the body in a fork; returns its exit status, negative if a signal ended it."""
    child = os.fork()
    if child == 0:
        try:
            body()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_at(point: int, after: bool) -> None:
    """From here on, kill this process before or after the given call that changes what is on disk."""
    calls = -1

    def fatal(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == point and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = real(*arguments, **keywords)
            if calls == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return call

    for name in ("mkdir", "fsync", "rename", "replace", "unlink", "rmdir"):
        setattr(os, name, fatal(getattr(os, name)))


def save_step(folder: RunFolder, step: int) -> None:
    with folder.hold():
        folder.journal.append({"step": step})
        folder.save(snapshot(step, "new"))


def deaths(base: Path, random_deaths: int) -> list[str]:
    """Names of the runs that a death hit, each a folder under `base`."""
    names = []

    def killed(name: str, step: int, point: int, after: bool) -> bool:
        folder = run_with_two_checkpoints(base / name)

        def body() -> None:
            die_at(point, after)
            save_step(folder, step)

        status = in_child(body)
        assert status in (0, -signal.SIGKILL), (name, status)
        return status != 0

    for step, what in ((3, "next"), (2, "again")):
        for point in itertools.count():
            tries = {f"{what}-{point}-{'after' if after else 'before'}": after for after in (False, True)}
            hit = [name for name, after in tries.items() if killed(name, step, point, after)]
            if not hit:  # the save has no more of them
                break
            names += hit
    draw = random.Random(0)
    for number in range(random_deaths):
        names.append(f"random-{number}")
        kill_while_saving(run_with_two_checkpoints(base / names[-1]), after=draw.uniform(0.0, 0.1))
    return names


def kill_while_saving(folder: RunFolder, after: float) -> None:
    """Kill a process that saves one checkpoint after the other, some seconds after its start."""
    child = os.fork()
    if child == 0:
        with folder.hold():
            for step in itertools.count(3):
                folder.save(snapshot(step, "new", size=100_000))
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def full(base: Path) -> dict[str, str]:
    """What each write says when no file may grow beyond a limit [bytes]."""
    said: dict[str, str] = {}

    def limited(name: str, limit: int, act: Callable[[RunFolder], object]) -> None:
        folder = run_with_two_checkpoints(base / name)
        pipe_in, pipe_out = os.pipe()

        def body() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                with folder.hold():
                    act(folder)
            except RnnlabError as error:
                os.write(pipe_out, f"{type(error).__name__} {error.exit_code}: {error}".encode())

        status = in_child(body)
        os.close(pipe_out)
        said[name] = os.read(pipe_in, 10_000).decode() if status == 0 else f"exit status {status}"
        os.close(pipe_in)

    def thrice(folder: RunFolder) -> None:
        for attempt in range(3):
            try:
                folder.save(snapshot(3 + attempt, "new", size=100_000))
            except RnnlabError:
                if attempt == 2:
                    raise

    def long_line(folder: RunFolder) -> None:
        folder.journal.append({"text": "x" * 200})
        folder.save(snapshot(3))

    limited("state", 10_000, lambda folder: folder.save(snapshot(3, "new", size=100_000)))
    limited("thrice", 10_000, thrice)
    limited("manifest", 2_500, lambda folder: folder.save(snapshot(3, "n" * 3_000, size=1)))
    limited("journal", 100, long_line)
    limited("result", 100, lambda folder: folder.write_result({"text": "x" * 200}))
    return said


def unwritable(path: Path) -> str:
    path.mkdir()
    path.chmod(0o500)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    try:
        new_run(path / "run")
    except RnnlabError as error:
        return f"{type(error).__name__} {error.exit_code}: {error}"
    return "written"


def hold(path: Path) -> None:
    try:
        with RunFolder.open(path).hold():
            print("held", flush=True)
            time.sleep(600)
    except RnnlabError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    command, target, *rest = sys.argv[1:]
    commands: dict[str, Callable[[], Any]] = {
        "deaths": lambda: deaths(Path(target), int(rest[0])),
        "full": lambda: full(Path(target)),
        "unwritable": lambda: unwritable(Path(target)),
        "hold": lambda: hold(Path(target)),
    }
    print(json.dumps(commands[command]()))

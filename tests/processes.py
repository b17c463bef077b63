"""Real processes of rnnlab's command line, to be killed and watched."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rnnlab.storage import metrics
from tests.rnnlab.tiny_runs import FRAGMENTS, bindings, journal, state_hash

SERVER = Path(__file__).with_name("fork_server.py")
PATIENCE = 240.0  # [s] for what takes a few on a machine with nothing else to do


@dataclass
class Child:
    """A process that runs one command."""

    server: "Processes"
    pid: int
    output: Path
    status: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.status is None:
            self.kill()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit code, negative if a signal ended it."""
        if self.status is None:
            self.status = self.server.ask({"wait": self.pid, "timeout": PATIENCE})
        assert self.status is not None, f"process {self.pid} hangs: {self.err}"
        return self.status

    def wait_until_paused(self) -> None:
        """Until a SIGSTOP of its own has taken hold: a SIGCONT before that would be lost."""
        deadline = time.monotonic() + PATIENCE
        while Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][0] != "T":
            assert time.monotonic() < deadline, f"process {self.pid} was never paused: {self.err}"
            time.sleep(0.01)

    def kill(self) -> int:
        self.signal(signal.SIGKILL)
        return self.wait()

    @property
    def out(self) -> str:
        return self.output.with_suffix(".out").read_text()

    @property
    def err(self) -> str:
        return self.output.with_suffix(".err").read_text()

    def finish(self) -> tuple[int, str, str]:
        """(exit code, standard output, standard error)."""
        return self.wait(), self.out, self.err

    def succeed(self) -> Any:
        """What it printed, which is JSON if it was asked for."""
        assert self.wait() == 0, self.err
        return json.loads(self.out) if self.out.startswith("{") else self.out


@dataclass
class Processes:
    """A fork server, and what it started."""

    outputs: Path
    children: list[Child] = field(default_factory=list)

    def __enter__(self) -> Self:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-P", str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._answer() == "ready"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self.children:
            if child.status is None:
                os.kill(child.pid, signal.SIGKILL)
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(PATIENCE)
        self._server.stdout.close()

    def _answer(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline().strip()

    def ask(self, request: dict[str, Any]) -> Any:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._answer())

    def start(
        self,
        *arguments: str,
        faults: list[dict[str, Any]] | None = None,
        largest_file: int | None = None,
        folder: Path | None = None,
    ) -> Child:
        """See `fork_server.start`."""
        output = self.outputs / f"process-{len(self.children)}"
        request = {
            "arguments": arguments,
            "output": str(output),
            "faults": faults or [],
            "largest_file": largest_file,
            "folder": str(folder or Path.cwd()),
            "environment": {**os.environ, "OMP_NUM_THREADS": "1"},
        }
        child = Child(self, self.ask({"start": request}), output)
        self.children.append(child)
        return child

    def train(self, run: Path, text: Path, *more: str, **keywords: Any) -> Child:
        return self.start(*train_arguments(run, text, *more), **keywords)

    def resume(self, run: Path, *more: str, **keywords: Any) -> Child:
        return self.start("resume", str(run), *more, **keywords)


_shared: list[Processes] = []


def processes() -> Processes:
    """What the tests of this process start, from one server."""
    if not _shared:
        _shared.append(Processes(Path(tempfile.mkdtemp(prefix="processes-"))).__enter__())
    return _shared[0]


def end() -> None:
    """The server and what is left of the processes, at the end of the tests."""
    while _shared:
        ended = _shared.pop()
        ended.__exit__(None, None, None)
        shutil.rmtree(ended.outputs, ignore_errors=True)


def begin(*arguments: str | Path) -> Child:
    """`rnnlab` in a process of its own, to be killed and watched."""
    return processes().start(*map(str, arguments))


def train_arguments(run: Path, text: Path, *more: str) -> list[str]:
    """A tiny run on the command line; `more` are bindings."""
    sets = [part for binding in bindings(text, *more) for part in ("--set", binding)]
    return ["train", *FRAGMENTS, *sets, "--run", str(run)]


def expect_equal(run: Path, whole: Path) -> None:
    """Killed and resumed or not, the two went through the same numbers, and nothing was left lying about."""
    assert state_hash(run) == state_hash(whole)
    assert journal(run) == journal(whole)
    assert not list(run.rglob(".tmp-*"))


def wait_for_step(run: Path, step: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if any(record.get("step", 0) >= step for record in metrics.read(run / "metrics.jsonl")):
            return
        time.sleep(0.01)
    raise AssertionError(f"{run} never came to step {step}")

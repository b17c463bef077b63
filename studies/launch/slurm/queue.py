"""Which elements of a study's job arrays are in the queue, as squeue lists them."""

import hashlib
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

from rnnlab.console import say
from rnnlab.errors import ConfigError
from rnnlab.studies.launch.slurm import programs

SOONEST, LATEST = 2.0, 20.0  # [s] between two questions
PATIENCE = 60.0  # [s] that squeue gets
MOST_OF_NAME = 40  # [characters]

Key: TypeAlias = tuple[str, int]  # name of the folder of an array, index of the element


@dataclass(frozen=True)
class Queued:
    """An element in the queue.

    Attributes:
        job: as SLURM calls it, "12_3".
        state: in capitals, such as PENDING, RUNNING, COMPLETING.
        reason: why it does not run.
    """

    job: str
    state: str
    reason: str

    @property
    def runs(self) -> bool:
        return self.state not in ("PENDING", "REQUEUED")


Listing: TypeAlias = Mapping[Key, Queued]


def name_of_jobs(study: Path) -> str:
    """What all jobs of the study in this folder are called."""
    folder = study.resolve()
    shown = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.name)[:MOST_OF_NAME]
    return f"rnnlab-{shown}-{hashlib.sha256(str(folder).encode()).hexdigest()[:6]}"


def command(name: str) -> list[str]:
    return ["squeue", "--noheader", "--array", f"--name={name}", "--format=%F|%K|%T|%r|%o"]


def listing_of(text: str) -> dict[Key, Queued]:
    """What squeue printed. The script of an array lies in its folder, which tells the arrays of a study apart."""
    found = {}
    for line in text.splitlines():
        array, index, state, reason, script = line.split("|", 4)
        if index.isdecimal():
            found[Path(script).parent.name, int(index)] = Queued(f"{array}_{index}", state, reason)
    return found


def listed(name: str) -> dict[Key, Queued]:
    """Ask now. Raises: as `rnnlab.studies.launch.slurm.programs.call`."""
    return listing_of(programs.call(*command(name), patience=PATIENCE))


class Queue:
    """The queue, asked again and again without waiting for the answers.

    Attributes:
        listing: the newest; None as long as there is none.
        asked: when the question to it was asked [s, monotonic].
        answers: whether SLURM answered last time.
    """

    def __init__(self, name: str) -> None:
        self._name, self._started = name, time.monotonic()
        self._process: subprocess.Popen[bytes] | None = None
        self._out: IO[bytes] | None = None
        self._began, self._next = 0.0, 0.0
        self.listing: Listing | None = None
        self.asked = 0.0
        self.answers = True

    def look(self) -> bool:
        """Ask if it is time to; whether there is a new answer, of which one may be that SLURM does not answer.

        Raises: ConfigError if there is no squeue, or it never worked.
        """
        now = time.monotonic()
        if self._process is None:
            if now >= self._next:
                self._ask(now)
            return False
        if self._process.poll() is None:
            if now < self._began + PATIENCE:
                return False
            self._process.kill()
            self._process.wait()
        self._read(now)
        return True

    def hurry(self) -> None:
        """Ask soon: something was submitted."""
        self._next = min(self._next, time.monotonic())

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._out is not None:
            self._out.close()

    def _ask(self, now: float) -> None:
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 - no pipe, which thousands of elements would fill
        self._began = now
        try:
            self._process = subprocess.Popen(
                command(self._name), stdin=subprocess.DEVNULL, stdout=self._out, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError:
            raise ConfigError(
                "there is no squeue here; --slurm needs a machine from which jobs are submitted"
            ) from None

    def _read(self, now: float) -> None:
        assert self._process is not None
        assert self._out is not None
        self._out.seek(0)
        said = self._out.read().decode(errors="replace")
        self._out.close()
        code, self._process, self._out = self._process.returncode, None, None
        took, age = now - self._began, now - self._started
        self._next = now + min(max(SOONEST, 10 * took, age / 100), LATEST)
        if code:
            words = programs.failure(["squeue"], said)
            if self.listing is None and isinstance(words, programs.Refused):
                raise ConfigError(f"--slurm: SLURM cannot be asked from here: {words}")
            if self.answers:
                say(f"SLURM does not answer ({words}); the jobs go on, and it is asked again")
            self.answers = False
            return
        if not self.answers:
            say("SLURM answers again")
        self.listing, self.asked, self.answers = listing_of(said), self._began, True

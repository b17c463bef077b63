"""SLURM's own programs, and what they say when they do not do what they are asked."""

import subprocess
from collections.abc import Sequence

from rnnlab.errors import ConfigError

PATIENCE = 120.0  # [s]; sbatch itself gives up on a controller after 18
UNREACHABLE = (
    "unable to contact slurm controller",
    "timed out",
    "connection refused",
    "connection failure",
    "temporarily unable",
    "temporarily unavailable",
    "zero bytes were transmitted",
    "standby mode",
)
"""Parts of SLURM's words that speak of its controller and not of what was asked."""

TOO_MANY = ("submit limit", "submitjobs", "job count", "qos policy", "maximum number of jobs")
"""Parts of SLURM's words if a user may have no more jobs in the queue."""


class Unreachable(Exception):
    """The controller does not answer, so that nobody knows whether it did what was asked."""


class Refused(Exception):
    """SLURM does not do what was asked; the message is in its words."""

    @property
    def is_for_number(self) -> bool:
        """Because there may be no more jobs at a time."""
        return any(part in str(self).lower() for part in TOO_MANY)


def call(*command: str, patience: float = PATIENCE) -> str:
    """What a program of SLURM prints.

    Raises: Unreachable; Refused; ConfigError if there is no such program.
    """
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=patience,
            start_new_session=True,  # Ctrl-C is for us: a submission is not to be cut short
        )  # fmt: skip
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {command[0]} here; --slurm needs a machine from which jobs are submitted"
        ) from None
    except subprocess.TimeoutExpired:
        raise Unreachable(f"{command[0]} did not answer within {patience:.0f} s") from None
    if done.returncode:
        raise failure(command, done.stderr or done.stdout)
    return done.stdout


def failure(command: Sequence[str], said: str) -> Unreachable | Refused:
    """What the words of a program that failed mean."""
    lines = [line.removeprefix(f"{command[0]}: ").removeprefix("error: ").strip() for line in said.splitlines()]
    words = "; ".join(dict.fromkeys(filter(None, lines))) or f"{command[0]} failed without a word"
    kind = Unreachable if any(part in words.lower() for part in UNREACHABLE) else Refused
    return kind(words)

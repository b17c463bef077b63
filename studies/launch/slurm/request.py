"""What `--slurm 'OPTIONS'` asks for: options of sbatch, and how many of the jobs may run at a time."""

import re
import shlex
from dataclasses import dataclass

from rnnlab.errors import ConfigError

AT_A_TIME = "array-parallelism"
OURS = (
    "array", "chdir", "clusters", "dependency", "error", "help", "input", "job-name", "no-requeue", "open-mode",
    "output", "parsable", "quiet", "requeue", "signal", "test-only", "usage", "verbose", "version", "wait", "wrap",
)  # fmt: skip
"""Options of sbatch that are set by us, or that would change what it answers."""

WARNING = 120  # [s] before the time limit at which a job saves
UNITS = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}  # [MiB]


@dataclass(frozen=True)
class SlurmRequest:
    """How the jobs of a study are submitted.

    Attributes:
        options: (name, value) of sbatch's long options; the value is None of one that has none.
        at_a_time: how many jobs may run side by side; None for as many as SLURM lets.
        detach: whether the command ends once everything was submitted.
    """

    options: tuple[tuple[str, str | None], ...]
    at_a_time: int | None = None
    detach: bool = False

    def arguments(self, without: str = "") -> list[str]:
        """The options for sbatch, but for one."""
        return [written(name, value) for name, value in self.options if name != without]

    def value(self, name: str) -> str | None:
        return dict(self.options).get(name)

    @property
    def seconds(self) -> int | None:
        """The time limit [s]; None if none was asked for."""
        return seconds_of(self.value("time") or "")

    @property
    def warning(self) -> int:
        """How long before its limit a job is told [s]; of a short one a third."""
        return WARNING if self.seconds is None else max(1, min(WARNING, self.seconds // 3))


def written(name: str, value: str | None) -> str:
    """An option as sbatch reads it."""
    return f"--{name}" if value is None else f"--{name}={value}"


def parse_request(text: str, detach: bool = False) -> SlurmRequest:
    """Args: text: words `name=value` or `name`, quoted as in a shell.

    Raises: ConfigError for what is no long option, an option that is ours, or one that is there twice.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"--slurm {text!r}: {str(error).lower()}") from None
    options: dict[str, str | None] = {}
    at_a_time = None
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not re.fullmatch(r"[a-z][a-z0-9-]+", name):
            raise ConfigError(
                f"--slurm: {word!r} is no option; write sbatch's long ones, such as partition=gpu time=240"
            )
        if name in OURS:
            raise ConfigError(f"--slurm: {name} is set by rnnlab; leave it out")
        if name in options or (name == AT_A_TIME and at_a_time is not None):
            raise ConfigError(f"--slurm: {name} is there twice; leave one of them out")
        if name == AT_A_TIME:
            if not value.isdecimal() or int(value) < 1:
                raise ConfigError(f"--slurm: {word}: how many jobs may run at a time, at least 1")
            at_a_time = int(value)
        else:
            options[name] = value if equals else None
    return SlurmRequest(tuple(options.items()), at_a_time, detach)


def seconds_of(limit: str) -> int | None:
    """SLURM's ways to write a time [s]: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S; None for any other, as of no limit."""
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", limit):
        return None
    days, dash, clock = limit.rpartition("-")
    numbers = [int(part) for part in clock.split(":")]
    if not dash and len(numbers) < 3:
        numbers = [0, *numbers]  # they begin with minutes
    hours, minutes, seconds = [*numbers, 0, 0][:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def mebibytes_of(size: str) -> float | None:
    """SLURM's ways to write a size of memory [MiB]; None for any other, and for 0, which means all there is."""
    found = re.fullmatch(r"(\d+)([KMGT]?)B?", size.upper())
    return (int(found[1]) * UNITS[found[2] or "M"] or None) if found else None

"""What a user can be told, each with the exit code of the command line.

Those without a code of their own exit 1: a rank that was lost, what fails in a study by itself. So does everything else
that is raised, which is a bug of ours and comes with a traceback.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from signal import Signals

from rnnlab.safe_text import hide_secrets


class RnnlabError(Exception):
    """Base of the errors that speak to a user: one or two lines naming the thing, the place and the remedy."""

    exit_code = 1

    def __str__(self) -> str:
        return hide_secrets(super().__str__())


class ConfigError(RnnlabError):
    """A configuration or a command line that cannot mean what it says."""

    exit_code = 2


class DataError(RnnlabError):
    """A corpus that is missing, too short, damaged or not the one that was named."""

    exit_code = 3


class Diverged(RnnlabError):
    """A loss, gradient or score that is not finite.

    Attributes:
        step: whose replay shows it; None for the one after the last.
    """

    exit_code = 4

    def __init__(self, message: str, step: int | None = None) -> None:
        super().__init__(message, step)
        self.message, self.step = message, step

    def __str__(self) -> str:
        return self.message


NEEDS_LESS = (
    "A smaller LanguageModel.dim, Trainer.batch_size or Trainer.bptt needs less; `rnnlab plan FRAGMENT... --gpu NAME` "
    "says what fits"
)


class OutOfMemory(RnnlabError):
    """A run that needs more memory than there is; the checkpoints of before are whole."""

    exit_code = 7


class StorageError(RnnlabError):
    """A run folder or checkpoint that cannot be written, read or trusted."""

    exit_code = 5


class FolderLost(StorageError):
    """The folder that is written to is no longer the one that was opened, or a link leads out of it."""


class RunHeldError(RnnlabError):
    """The run is held by another process."""

    exit_code = 6


class RankLost(RnnlabError):
    """Another rank of the run died; this one cannot go on alone."""


class Stopped(RnnlabError):
    """A signal asked the run to end; its checkpoint is written."""

    def __init__(self, signal: Signals, place: str = "") -> None:
        super().__init__(signal, place)  # the arguments, or the error could not travel between processes
        self.signal, self.place = signal, place
        self.exit_code = 128 + signal.value

    def __str__(self) -> str:
        return f"stopped by {self.signal.name}{self.place}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was not enough memory, of the host or of a GPU; by its words, as torch has no class for the CPU."""
    if isinstance(error, MemoryError):
        return True
    said = str(error)
    short = "out of memory" in said or ("memory" in said and "allocat" in said) or "STATUS_ALLOC_FAILED" in said
    return isinstance(error, RuntimeError) and short


@contextmanager
def reporting_out_of_memory() -> Iterator[None]:
    """Raises: OutOfMemory in place of what the body raises where there is not enough memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"not enough memory ({first_line(error)}). {NEEDS_LESS}") from error


def first_line(error: BaseException) -> str:
    """Of what an error says, or its name if it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]


class LawError(AssertionError):
    """A part breaks a law of `rnnlab.testing`; the message says which, how, and with what minimal case."""


def check_width(owner: str, name: str, value: int) -> None:
    """Raises: ConfigError unless `value`, the argument `name` of the part `owner`, can be a width."""
    if value < 1:
        raise ConfigError(f"{owner}.{name} = {value}: a width is at least 1")


def check_heads(owner: str, heads: int, width: int) -> None:
    """Raises: ConfigError unless a width can be cut into the `heads` of the part `owner`."""
    if heads < 1 or width % heads:
        raise ConfigError(f"{owner}.heads = {heads}: the width {width} has to be a multiple of the number of heads")


def check_probability(owner: str, name: str, value: float) -> None:
    """Raises: ConfigError unless `value`, the argument `name` of the part `owner`, is in [0, 1)."""
    if not 0.0 <= value < 1.0:
        raise ConfigError(f"{owner}.{name} = {value}: a probability in [0, 1) is needed")

"""Job arrays put into the queue: the script, the call of sbatch, and why SLURM refuses."""

import os
import re
import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rnnlab.errors import ConfigError
from rnnlab.studies.launch.slurm import programs
from rnnlab.studies.launch.slurm.request import SlurmRequest, written

DEFAULT_MOST = 1001  # of SLURM, if it does not say


def script_of(array: Path) -> str:
    """What every element of an array runs. The last line is `exec`, so that Python hears the signals of the job."""
    return (
        "#!/bin/bash\n"
        "# an element of a job array that rnnlab made; jobs.jsonl beside this file says what each of them does\n"
        "export OMP_NUM_THREADS=1    # as local workers have it, for the numbers depend on it\n"
        f"exec {shlex.quote(sys.executable)} -m rnnlab.studies.launch.slurm.element {shlex.quote(str(array))}\n"
    )


def submit(request: SlurmRequest, name: str, script: Path, count: int, after: Sequence[str]) -> str:
    """Submit an array of so many elements; the id of its job.

    Args:
        name: of the job.
        after: ids of arrays that have to end first.
    Raises: programs.Unreachable if nobody knows whether it was submitted; programs.Refused; ConfigError.
    """
    together = "" if request.at_a_time is None else f"%{request.at_a_time}"
    own = [
        f"--job-name={name}", f"--array=0-{count - 1}{together}", f"--output={_plain(script.parent)}/%a.log",
        "--open-mode=append", f"--chdir={os.getcwd()}", "--requeue", f"--signal=B:USR1@{request.warning}",
        *([f"--dependency=afterany:{':'.join(after)}"] if after else []),
    ]  # fmt: skip
    said = programs.call("sbatch", "--parsable", *request.arguments(), *own, str(script))
    return said.strip().splitlines()[-1].partition(";")[0]


def _plain(folder: Path) -> str:
    """A folder in a pattern of sbatch."""
    return str(folder).replace("%", "%%")


def most_elements() -> int:
    """How many elements an array may have. Raises: programs.Unreachable."""
    with suppress(programs.Refused):
        if found := re.search(r"^MaxArraySize\s*=\s*(\d+)", programs.call("scontrol", "show", "config"), re.MULTILINE):
            return max(1, int(found[1]))
    return DEFAULT_MOST


def refusal(request: SlurmRequest, words: str) -> ConfigError:
    """What to tell of a request that SLURM refuses: its words, and the option without which it would not."""
    blamed = [written(name, value) for name, value in request.options if _passes(request, without=name)]
    because = f" because of {' or '.join(blamed)}" if blamed else ""
    return ConfigError(f"--slurm: SLURM refuses the jobs{because}: {words}")


def _passes(request: SlurmRequest, without: str) -> bool:
    """Whether SLURM would take a job with all options but one."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "nothing.sh"
        script.write_text("#!/bin/bash\n")
        with suppress(programs.Refused, programs.Unreachable):
            programs.call("sbatch", "--test-only", *request.arguments(without), str(script))
            return True
    return False

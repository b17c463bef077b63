"""Tasks for jobs of tests."""

import time
from pathlib import Path

from rnnlab.errors import ConfigError
from rnnlab.studies.launch.launcher import Check, Job

BEGAN, GO, WRONG = "began", "go", "wrong"


def wait_to_go(job: Job, check: Check) -> None:
    """Note that it began, and wait for the file `go` in the job's folder. Raises: ConfigError if it says `wrong`."""
    folder = Path(job["folder"])
    with (folder / BEGAN).open("a") as began:
        began.write("began\n")
    while not (folder / GO).exists():
        check()
        time.sleep(0.05)
    if (folder / GO).read_text() == WRONG:
        raise ConfigError("this.gin: line 7 is wrong")

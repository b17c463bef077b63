"""The work of one worker, whoever launched it: its task, and the exit code with the words for its log."""

import sys
import traceback
from contextlib import suppress

from rnnlab.errors import RnnlabError
from rnnlab.safe_text import hide_secrets
from rnnlab.studies.launch.launcher import Check, Job, Task


def do(task: Task, job: Job, check: Check) -> int:
    """Do the job, and return the exit code of the command line, see `rnnlab.errors`."""
    try:
        task(job, check)
        code, words = 0, ""
    except RnnlabError as error:
        code, words = error.exit_code, f"rnnlab: error: {error}\n"
    except BaseException as error:
        trace = hide_secrets(f"{traceback.format_exc()}rnnlab: error: {type(error).__name__}: {error}\n")
        code, words = 1, trace
    with suppress(OSError):  # a log on a full disk: the code tells more than a second error
        sys.stderr.write(words)
        sys.stdout.flush()
        sys.stderr.flush()
    return code

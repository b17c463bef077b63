"""The folders that outlive a run: named corpora and compiled kernels."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def folder() -> Path:
    """Where named corpora lie: `RNNLAB_DATA` if it is set, else the user's cache. It need not exist yet."""
    return user_cache("RNNLAB_DATA")


def user_cache(variable: str) -> Path:
    """The folder that an environment variable names, else rnnlab's in the user's cache."""
    chosen = os.environ.get(variable)
    return Path(os.path.abspath(os.path.expanduser(chosen))) if chosen else user_cache_path("rnnlab", appauthor=False)

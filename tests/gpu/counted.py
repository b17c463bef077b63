"""A worker server whose questions to CUDA are counted, and a task that reports them."""

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

LOWEST = ("_cuda_getDeviceCount", "_cuda_init")
"""What `torch.cuda.is_available`, `device_count` and `init` end in; after either, CUDA is of no use in a fork."""

ASKED: list[str] = []
"""Who asked, a traceback for each call."""


def count_questions() -> None:
    """From now on; a torch that is built for the CPU gets the functions that it lacks, and they find no card."""
    for name in LOWEST:
        setattr(torch._C, name, _counting(name, getattr(torch._C, name, lambda: 0)))


def _counting(name: str, ask: Callable[[], Any]) -> Callable[[], Any]:
    def counted() -> Any:
        ASKED.append(f"{name}, called by\n{''.join(traceback.format_stack(limit=8)[:-1])}")
        return ask()

    return counted


def serve_counted() -> None:
    """`serve` of the worker server, which is imported here so that what its import asks counts too."""
    count_questions()
    from rnnlab.studies.launch.worker import serve

    serve()


def report(job: dict[str, Any], check: Callable[[], None]) -> None:
    """A task: write to job["out"] what was asked before this worker was forked, and whether that has spoilt CUDA."""
    asked = list(ASKED)
    Path(job["out"]).write_text(json.dumps({"asked": asked, "is_spoilt": bool(torch.cuda._is_in_bad_fork())}))

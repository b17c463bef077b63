"""Where Triton's kernels can be used, and how all of them are launched.

Triton compiles at the first launch. It needs a driver, a C compiler and the headers of Python for that: that it can be
imported says little. Where it cannot be used, torch's operations take its place.
"""

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from rnnlab.console import say

LONGEST_REASON = 300  # characters: a failed compiler is reported with its whole command


@functools.cache
def usable(device: torch.device) -> bool:
    """Whether a kernel can be compiled and launched on the device: tried once, and said in one line if it cannot."""
    try:
        from rnnlab.ops import triton_trial  # imports triton, which is not installed everywhere

        triton_trial.run(device)
    except Exception as error:  # of the import, the driver, the compiler: Triton has no class of errors for them
        said = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_REASON]
        say(f"no Triton kernels on {device} ({said}); going on in plain torch, more slowly, with the same results")
        return False
    return True


def current(device: torch.device) -> AbstractContextManager[object]:
    """Within it a CUDA device is the current one, to which launches and recordings go; nothing for other devices."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def launch(kernel: Any, programs: int, first: torch.Tensor, *arguments: Any, **constants: Any) -> None:
    """Launch `programs` programs of a kernel on the device of its first argument, which need not be the current one."""
    with current(first.device):
        kernel[(programs,)](first, *arguments, **constants)

"""What a graphics card has to have for this build of torch, and for what is asked of it."""

import re
from collections.abc import Sequence

import torch

from rnnlab.errors import ConfigError

Version = tuple[int, int]
"""Of CUDA, or the compute capability of a card."""

BF16_SINCE: Version = (8, 0)
"""Compute capability from which an NVIDIA card has bfloat16 and TF32; before it torch emulates the one, slowly."""


def code_for(compiled: Sequence[str], card: Version) -> str:
    """How the code serves the card: that of sm_80 also serves 8.6, PTX of compute_80 all that came later; or ''.

    Source: CUDA C++ Programming Guide, "Binary Compatibility" and "PTX Compatibility". Code for sm_90a is 9.0's alone.
    """
    for each in sorted(compiled, key=version_of, reverse=True):
        version = version_of(each)
        if each.startswith("sm_") and (
            version == card if each[-1] == "a" else version[0] == card[0] and version <= card
        ):
            return f"with code for {each}"
    ptx = [each for each in compiled if each.startswith("compute_") and each[-1] != "a" and version_of(each) <= card]
    return f"compiled at its start from {max(ptx, key=version_of)}" if ptx else ""


def version_of(architecture: str) -> Version:
    """sm_86 -> (8, 6), compute_120 -> (12, 0)."""
    digits = re.sub(r"\D", "", architecture)
    return int(digits[:-1] or 0), int(digits[-1:] or 0)


def check_card(name: str, capability: Version, architectures: Sequence[str]) -> None:
    """Raises: ConfigError if this torch has no code for the card."""
    if architectures and not code_for(architectures, capability):
        oldest = min(architectures, key=version_of)
        raise ConfigError(
            f"{name} is of sm_{capability[0]}{capability[1]}, and torch {torch.__version__} has no code for it (its "
            f"oldest is {oldest}); install a torch built for an older CUDA, or use --device cpu"
        )


def check_precision(name: str, capability: Version, precision: str) -> None:
    """Raises: ConfigError if the card does not compute in that precision."""
    if precision in ("bf16", "tf32") and capability < BF16_SINCE:
        raise ConfigError(
            f"Trainer.precision = {precision!r}: {name} is of sm_{capability[0]}{capability[1]}, and cards do not "
            f"compute in it before sm_80; use 'fp16', or 'fp32'"
        )

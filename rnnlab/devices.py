"""What a graphics card has to have for this build of torch, and for what is asked of it."""

from collections.abc import Sequence

import torch

from rnnlab.errors import ConfigError

BF16_SINCE = (8, 0)
"""Compute capability from which an NVIDIA card has bfloat16 and TF32; before it torch emulates the one, slowly."""


def has_code_for(capability: tuple[int, int], architectures: Sequence[str]) -> bool:
    """Whether a build made for these architectures, such as "sm_80" or "compute_90", runs on a card.

    Machine code serves later cards of the same generation, and PTX (compute_) all later ones.
    """
    major, minor = capability
    for architecture in architectures:
        kind, _, number = architecture.rstrip("af").partition("_")
        made_for = int(number[:-1]), int(number[-1])
        if kind == "compute" and made_for <= capability:
            return True
        if kind == "sm" and made_for[0] == major and made_for[1] <= minor:
            return True
    return False


def check_card(name: str, capability: tuple[int, int], architectures: Sequence[str]) -> None:
    """Raises: ConfigError if this torch has no code for the card."""
    if architectures and not has_code_for(capability, architectures):
        oldest = min((a for a in architectures if a.startswith("sm_")), key=lambda a: int(a[3:].rstrip("af")))
        raise ConfigError(
            f"{name} is of sm_{capability[0]}{capability[1]}, and torch {torch.__version__} has no code for it (its "
            f"oldest is {oldest}); install a torch built for an older CUDA, or use --device cpu"
        )


def check_precision(name: str, capability: tuple[int, int], precision: str) -> None:
    """Raises: ConfigError if the card does not compute in that precision."""
    if precision in ("bf16", "tf32") and capability < BF16_SINCE:
        raise ConfigError(
            f"Trainer.precision = {precision!r}: {name} is of sm_{capability[0]}{capability[1]}, and cards do not "
            f"compute in it before sm_80; use 'fp16', or 'fp32'"
        )

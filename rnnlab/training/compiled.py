"""A model under torch.compile, but for what it would write out position by position."""

from typing import Any

import torch
from torch import nn

from rnnlab.interfaces import StaysEager


def compiled(model: nn.Module, **settings: Any) -> Any:
    """torch.compile(model), in which the parts that ask to stay eager are called as they are.

    torch compiles an LSTM as so many cells as there are positions: minutes at T = 1,024, and slower than cuDNN.

    Args:
        settings: of torch.compile.
    """
    for part in model.modules():
        if isinstance(part, StaysEager) and part.stays_eager:
            _leave_alone(type(part))
    return torch.compile(model, **settings)


def _leave_alone(kind: type[nn.Module]) -> None:
    """Of the class, not of the part: a deep copy of a part would keep calling the part that it was copied from."""
    if not getattr(kind.forward, "_torchdynamo_disable", False):
        kind.forward = torch.compiler.disable(kind.forward)  # type: ignore[method-assign, no-untyped-call]

"""The sliding memory that attentions share: what enters it, and what each query may see of it."""

from typing import NamedTuple

import torch
from torch import Tensor

from rnnlab.errors import ConfigError


class Memory(NamedTuple):
    positions: Tensor  # (M', B, D) past sources as they came, oldest first, M' <= memory - 1


def check_window(name: str, window: int) -> None:
    """Raises: ConfigError unless a query sees at least itself."""
    if window < 1:
        raise ConfigError(f"{name}.memory = {window}: a query sees at least itself, so memory >= 1 [positions]")


def next_memory(memory: Tensor, source: Tensor, window: int) -> Tensor:
    """memory (M', B, D) followed by source (T, B, D), cut to the newest window - 1 positions.

    The window counts the query itself, so what lies window - 1 positions before the next query is the last it can see.
    """
    keep = window - 1
    if keep <= len(source):
        return source[len(source) - keep :]
    return torch.cat([memory[max(0, len(memory) + len(source) - keep) :], source])


def hidden_from(queries: int, remembered: int, window: int, device: torch.device) -> Tensor:
    """Which keys each query must not see: bool (T, M' + T), True where hidden.

    Query i stands at key M' + i; it sees itself and the window - 1 keys before it, however the text was cut.
    """
    own = torch.arange(remembered, remembered + queries, device=device).unsqueeze(1)
    key = torch.arange(remembered + queries, device=device).unsqueeze(0)
    return (key > own) | (key <= own - window)

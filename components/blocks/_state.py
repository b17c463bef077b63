"""What a block carries from chunk to chunk."""

from typing import NamedTuple

from rnnlab.state import State


class BlockState(NamedTuple):
    core: State
    attention: State  # None without attention

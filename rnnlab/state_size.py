"""How much a model remembers: the floats that the state of one sequence holds once every memory is full.

The size is read off the parts, and no position is computed. What a state has from the start is counted as it is. What
is still empty then, a tensor of length 0 along dimension 0, grows to `memory` - 1 positions: an attention's memory is
its `memory` less the query's own position. Dtypes do not matter: a float in bfloat16 counts as one in float32.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from rnnlab.interfaces import HasStateSize
from rnnlab.state import State, leaves


def count_state(part: nn.Module) -> int:
    """Floats that the state of one sequence holds at most [floats]: of a part, a block or a model; 0 without a state.

    A complex number counts as two. Integers and booleans, as counters and masks, do not count: they hold no content.
    """
    if not _has_state(part):
        return 0
    return part.state_size() if isinstance(part, HasStateSize) else _at_start(part) + _growth(part)


def floats(state: State) -> int:
    """How many a state holds as it is."""
    return sum(_content(leaf) for _, leaf in leaves(state))


def _growth(part: Any) -> int:
    """What comes to the state of a sequence by the time that every memory is full.

    Of a part without a `memory` of its own, as a block, it is that of the parts within.
    """
    if isinstance(part, HasStateSize):
        return part.state_size() - _at_start(part)
    memory = getattr(part, "memory", None)
    if isinstance(memory, int):
        empty = (leaf for _, leaf in leaves(part.initial_state(1)) if leaf.dim() > 2 and len(leaf) == 0)
        return (memory - 1) * sum(_content(leaf.new_empty(leaf.shape[1:])) for leaf in empty)
    return sum(map(_growth, _within(part)))


def _within(part: nn.Module) -> Iterator[nn.Module]:
    """The nearest parts inside of it that have a state."""
    for child in part.children():
        if _has_state(child):
            yield child
        else:
            yield from _within(child)


def _has_state(part: nn.Module) -> bool:
    return callable(getattr(part, "initial_state", None))


def _at_start(part: Any) -> int:
    return floats(part.initial_state(1))


def _content(leaf: Tensor) -> int:
    return 2 * leaf.numel() if leaf.is_complex() else leaf.numel() if leaf.is_floating_point() else 0

"""State of a part: tensors in (named) tuples, an argument and a result, never kept on the module.

    State = Tensor | None | NamedTuple or tuple of State

Every tensor has the batch at dimension -2: (..., B, D). That one rule lets a run shard its batch over ranks, a
checkpoint hold all of it, and a law watch one sequence while another is disturbed.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from rnnlab.errors import StorageError

State: TypeAlias = Any  # recursive: Tensor | None | tuple[State, ...]; mypy cannot see through NamedTuples here
BATCH_DIM = -2


def leaves(state: State, path: str = "state") -> Iterator[tuple[str, Tensor]]:
    """(path, tensor) of every tensor, depth first. Paths name NamedTuple fields: `state.core.h`, `state.0.memory`.

    Raises: TypeError naming the path of the first leaf that is not a tensor (a number, a list, ...).
    """
    if state is None:
        return
    if isinstance(state, Tensor):
        yield path, state
    elif isinstance(state, tuple):
        names = getattr(state, "_fields", range(len(state)))
        for name, child in zip(names, state, strict=True):
            yield from leaves(child, f"{path}.{name}")
    else:
        raise TypeError(f"{path} is a {type(state).__name__}; a state holds tensors only, in tuples or NamedTuples")


def map_state(function: Callable[[Tensor], Tensor], state: State) -> State:
    """The same structure with `function` applied to every tensor."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return function(state)
    if isinstance(state, tuple):
        children = [map_state(function, child) for child in state]
        return type(state)(*children) if hasattr(state, "_fields") else tuple(children)
    raise TypeError(f"a state holds tensors only, in tuples or NamedTuples; found a {type(state).__name__}")


def detach(state: State) -> State:
    """Cut the graph: the truncation in truncated backpropagation through time."""
    return map_state(Tensor.detach, state)


def to(state: State, device: torch.device | str) -> State:
    return map_state(lambda leaf: leaf.to(device), state)


def select_batch(state: State, which: slice) -> State:
    """The state of some sequences only."""
    return map_state(lambda leaf: leaf[..., which, :], state)


def concat_batch(states: list[State]) -> State:
    """Inverse of `select_batch`: states of disjoint sequences, in order, as one."""
    first = states[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.cat(cast(list[Tensor], states), dim=BATCH_DIM)
    children = [concat_batch(list(parts)) for parts in zip(*states, strict=True)]
    return type(first)(*children) if hasattr(first, "_fields") else tuple(children)


def flatten(state: State) -> dict[str, Tensor]:
    """{path: tensor}, for a checkpoint."""
    return dict(leaves(state))


def unflatten(template: State, flat: dict[str, Tensor], path: str = "state") -> State:
    """Rebuild `flatten`'s result in the structure of `template` (a part's `initial_state`); shapes come from `flat`.

    Raises: StorageError naming the first tensor that is missing.
    """
    if template is None:
        return None
    if isinstance(template, Tensor):
        if path not in flat:
            raise StorageError(f"the saved state lacks {path!r}; it belongs to another model")
        return flat[path]
    names = getattr(template, "_fields", range(len(template)))
    children = [unflatten(child, flat, f"{path}.{name}") for name, child in zip(names, template, strict=True)]
    return type(template)(*children) if hasattr(template, "_fields") else tuple(children)

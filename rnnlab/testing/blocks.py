"""Blocks are tried with their slots filled: by small parts of our own, or by any others."""

import functools
import inspect
from itertools import product

from torch import nn

from rnnlab.testing.case import DROPOUT_WORD, MEMORY, PartFactory, part_name
from rnnlab.testing.small import Leaky, TwoLayers, Window


def fill(
    wiring: PartFactory,
    core: PartFactory,
    attention: PartFactory | None = None,
    feedforward: PartFactory | None = None,
) -> PartFactory:
    """A block with its slots filled, built as `filled(dim, dropout=0.0)`; also with `memory` where a slot has one.

    `dropout` reaches the block and every dropout in its slots.
    """
    slots = {"core": core, "attention": attention, "feedforward": feedforward}

    def build(dim: int, dropout: float, **shared: int) -> nn.Module:
        filled = {name: part and _slot(part, dim, dropout, **shared) for name, part in slots.items()}
        return wiring(dim, dropout=dropout, **filled)

    def without_memory(dim: int, dropout: float = 0.0) -> nn.Module:
        return build(dim, dropout)

    def with_memory(dim: int, dropout: float = 0.0, memory: int = MEMORY) -> nn.Module:
        return build(dim, dropout, memory=memory)

    remembers = any(part and "memory" in inspect.signature(part).parameters for part in slots.values())
    filled = with_memory if remembers else without_memory
    names = [part_name(part) if part else "none" for part in slots.values()]
    filled.__name__ = f"{part_name(wiring)}({', '.join(names)})"
    return filled


def fillings(block: PartFactory) -> list[PartFactory]:
    """The block with small parts in its slots, in all three and in fewer; a block that is filled already, as it is."""
    parameters = inspect.signature(block).parameters
    if "core" not in parameters or parameters["core"].default is not inspect.Parameter.empty:
        return [block]
    return [
        fill(block, Leaky, Window, TwoLayers),
        fill(block, Leaky, None, TwoLayers),
        fill(block, Leaky, Window, None),
        fill(block, Leaky, None, None),
    ]


def all_pairs(
    wirings: list[PartFactory],
    cores: list[PartFactory],
    attentions: list[PartFactory],
    feedforwards: list[PartFactory],
) -> list[PartFactory]:
    """Filled blocks among which every pair of parts from different slots occurs, an empty slot included.

    Greedy: each block takes as many pairs that were not seen yet as any can; far fewer than all combinations.
    """
    candidates = list(product(wirings, cores, [*attentions, None], [*feedforwards, None]))
    missing = {pair for candidate in candidates for pair in _pairs(candidate)}
    chosen = []
    while missing:
        best = max(candidates, key=lambda candidate: len(missing & _pairs(candidate)))
        missing -= _pairs(best)
        chosen.append(fill(*best))
    return chosen


def _pairs(candidate: tuple[PartFactory | None, ...]) -> set[tuple[int, int, PartFactory | None, PartFactory | None]]:
    places = range(len(candidate))
    return {(i, j, candidate[i], candidate[j]) for i in places for j in places if i < j}


def _slot(part: PartFactory, width: int, dropout: float, **shared: int) -> PartFactory:
    """A factory that takes a width and nothing else, as gin makes them."""
    arguments = inspect.signature(part).parameters
    settings: dict[str, float] = {name: value for name, value in shared.items() if name in arguments}
    settings |= {name: dropout for name in arguments if DROPOUT_WORD in name}
    bound = functools.partial(part, **settings)

    def slot(dim: int) -> nn.Module:
        assert dim == width, f"a block of width {width} asked its slot for width {dim}"
        return bound(dim)

    return slot

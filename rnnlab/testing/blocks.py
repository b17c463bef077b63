"""Blocks are tried with their slots filled: by small parts of our own, or by any others."""

import inspect
from collections.abc import Hashable, Sequence
from itertools import combinations, product
from typing import TypeVar

from torch import nn

from rnnlab.testing.case import DROPOUT_WORD, MEMORY, ModuleFactory
from rnnlab.testing.law import part_name
from rnnlab.testing.small import Leaky, TwoLayers, Window


def fill(
    wiring: ModuleFactory,
    core: ModuleFactory,
    attention: ModuleFactory | None = None,
    feedforward: ModuleFactory | None = None,
) -> ModuleFactory:
    """A block built as `filled(dim, dropout=0.0)`, with `memory` where a slot has one; `dropout` reaches every slot."""
    slots = {"core": core, "attention": attention, "feedforward": feedforward}

    def with_memory(dim: int, dropout: float = 0.0, memory: int = MEMORY) -> nn.Module:
        filled = {name: part and _slot(part, dim, dropout, memory) for name, part in slots.items()}
        return wiring(dim, dropout=dropout, **filled)

    def without_memory(dim: int, dropout: float = 0.0) -> nn.Module:
        return with_memory(dim, dropout)

    remembers = any(part and "memory" in inspect.signature(part).parameters for part in slots.values())
    filled = with_memory if remembers else without_memory
    names = [part_name(part) if part else "none" for part in slots.values()]
    filled.__name__ = f"{part_name(wiring)}({', '.join(names)})"
    return filled


def fillings(block: ModuleFactory) -> list[ModuleFactory]:
    """The block with small parts in its slots, in all three and in fewer; a block that is filled already, as it is."""
    parameters = inspect.signature(block).parameters
    if "core" not in parameters or parameters["core"].default is not inspect.Parameter.empty:
        return [block]
    others = product((TwoLayers, None), (Window, None))
    return [fill(block, Leaky, attention, feedforward) for feedforward, attention in others]


def all_pairs(
    wirings: list[ModuleFactory],
    cores: list[ModuleFactory],
    attentions: list[ModuleFactory],
    feedforwards: list[ModuleFactory],
) -> list[ModuleFactory]:
    """Filled blocks among which every pair of parts from different slots occurs, an empty slot included."""
    candidates = list(product(wirings, cores, [*attentions, None], [*feedforwards, None]))
    return [fill(*candidate) for candidate in covering(candidates)]


Row = TypeVar("Row", bound=tuple[Hashable, ...])


def covering(candidates: Sequence[Row]) -> list[Row]:
    """Some of the candidates, far fewer, in which every pair of values in two places occurs that occurs in any.

    Greedy: each takes as many pairs that were not seen yet as any can. For products of test cases:
    `covering(list(product(cores, attentions, memories)))`.
    """
    pairs = {row: {(*places, row[places[0]], row[places[1]]) for places in combinations(range(len(row)), 2)}
             for row in candidates}  # fmt: skip
    missing, chosen = set[tuple[Hashable, ...]]().union(*pairs.values()), []
    while missing:
        best = max(candidates, key=lambda row: len(missing & pairs[row]))
        missing -= pairs[best]
        chosen.append(best)
    return chosen


def _slot(part: ModuleFactory, width: int, dropout: float, memory: int) -> ModuleFactory:
    """A factory that takes a width and nothing else, as gin makes them."""
    arguments = inspect.signature(part).parameters
    settings: dict[str, float] = {name: dropout for name in arguments if DROPOUT_WORD in name}
    settings |= {"memory": memory} if "memory" in arguments else {}

    def slot(dim: int) -> nn.Module:
        assert dim == width, f"a block of width {width} asked its slot for width {dim}"
        return part(dim, **settings)

    return slot

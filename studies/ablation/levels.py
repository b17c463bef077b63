"""Factors of a grid and the names of their levels, that of the base among them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rnnlab.errors import ConfigError

BASE_LEVEL = "base"
"""What the level is called that the base has, where the study does not name it."""


def by_factor(deltas: Mapping[str, Any], named: Mapping[str, str] | None) -> dict[str, tuple[str, ...]]:
    """The levels of every factor, that of the base first; a delta by itself is a factor of two levels.

    Args:
        deltas: as `Ablation.deltas`.
        named: {factor: name} of the base's level.
    """
    return {
        factor: ((named or {}).get(factor, BASE_LEVEL), *(items if isinstance(items, Mapping) else [factor]))
        for factor, items in deltas.items()
    }


def chosen(factors: Mapping[str, Sequence[str]], deltas: Sequence[str]) -> tuple[str, ...]:
    """The level of every factor that a variant has which is made of these deltas; that of the base where none is."""
    return tuple(next((level for level in others if level in deltas), base) for base, *others in factors.values())


def refuse(named: Mapping[str, str] | None, deltas: Mapping[str, Any], design: str) -> None:
    """Raises: ConfigError for names outside of a grid, of what is no factor, or that a level of the factor has."""
    if named and design != "grid":
        raise ConfigError("Ablation.levels: only a grid has levels; bind Ablation.design = 'grid', or leave them out")
    for factor, name in (named or {}).items():
        if factor not in deltas:
            raise ConfigError(f"Ablation.levels names {factor!r}, which is no factor; there are {', '.join(deltas)}")
        if not name:
            raise ConfigError(f"Ablation.levels[{factor!r}] = {name!r}: the name of a level is expected, 'lstm'")
    for factor, (base, *others) in by_factor(deltas, named).items() if design == "grid" else ():
        if base in others:
            raise ConfigError(
                f"factor {factor!r}: two of its levels are called {base!r}; name the base's level with "
                f"Ablation.levels = {{{factor!r}: '...'}}"
            )

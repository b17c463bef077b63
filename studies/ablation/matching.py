"""Equal budgets: the width at which a variant costs what the baseline costs."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Literal

from rnnlab.config import Config
from rnnlab.errors import ConfigError
from rnnlab.studies.ablation.state_knob import WIDTH, state_key
from rnnlab.training import experiment

Cost = Literal["parameters", "macs", "state"]

FACTS: dict[Cost, str] = {"parameters": "parameters", "macs": "macs_per_byte", "state": "state_floats"}
"""What `costs` calls each cost."""

UNITS: dict[Cost, str] = {"parameters": "parameters", "macs": "MACs", "state": "floats of state"}

TOLERANCE = 0.01  # of the baseline's cost
WIDEST = 2**17
NEIGHBORS = 128  # widths on each side to try where one does not fit, such as one that is no multiple of the heads


def costs(config: Config) -> dict[str, Any]:
    """Parameters, MACs per byte and the like; builds the model without its numbers. Raises: ConfigError."""
    return experiment.describe(experiment.build(config, shapes_only=True, needs_source=False))


def solve_width(name: str, config: Config, cost: Cost, target: int, width: str | None = None) -> tuple[Config, float]:
    """The variant at the value of `width`, a gin key, that brings its cost nearest to the target.

    Args:
        width: None for LanguageModel.dim, and of a state for the knob that a part names: see `state_knob`.
    Returns: (the configuration, the one that was given if that matches as it is; its cost over the target, less 1).
    Raises: ConfigError if no width brings it within 1%, the key is none of this variant's, or the target is 0.
    """
    fact = FACTS[cost]
    as_it_is = costs(config)[fact]
    if as_it_is == target:
        return config, 0.0
    if target == 0:
        raise ConfigError(
            f"variant {name!r} has {as_it_is:,} {UNITS[cost]} and the baseline none, which nothing can be matched to; "
            f"take a baseline that has some"
        )
    if abs(as_it_is / target - 1) <= TOLERANCE:
        return config, as_it_is / target - 1
    of_part = ""
    if width is None:
        width, selector = state_key(name, config) if cost == "state" else (WIDTH, "")
        of_part = f" (the knob of {selector})" if selector else ""
    config.override([f"{width} = 1"])  # says what is wrong with the key

    @cache
    def at(value: int) -> int | None:
        try:
            return int(costs(config.override([f"{width} = {value}"]))[fact])
        except ConfigError:  # a width that this model cannot have
            return None

    tried = dict(_bisect(at, target))
    if not tried:
        raise ConfigError(
            f"variant {name!r}: {width}{of_part} fits at no value up to {WIDEST}; name another in Ablation.widths"
        )
    value = min(tried, key=lambda value: abs(tried[value] - target))
    error = tried[value] / target - 1
    if abs(error) > TOLERANCE:
        raise ConfigError(
            f"variant {name!r} cannot match the baseline's {target:,} {UNITS[cost]} by {width}{of_part}: the nearest "
            f"is {value}, {100 * error:+.1f}%; name another width in Ablation.widths"
        )
    return config.override([f"{width} = {value}"]), error


def _bisect(at: Callable[[int], int | None], target: int) -> Iterator[tuple[int, int]]:
    """(width, cost) of widths that fit, closing in on the target from both sides."""
    low, high = 0, 1
    while high <= WIDEST:
        if fitting := _near(at, high, low, 2 * high):
            yield fitting
            width, cost = fitting
            if cost >= target:
                high = width
                break
            low = width
        high *= 2
    while fitting := _near(at, (low + high) // 2, low, high):
        yield fitting
        width, cost = fitting
        if cost < target:
            low = width
        else:
            high = width


def _near(at: Callable[[int], int | None], value: int, low: int, high: int) -> tuple[int, int] | None:
    """(width, cost) of the width nearest to `value`, strictly between the two, that fits."""
    for distance in range(NEIGHBORS + 1):
        for candidate in (value + distance, value - distance):
            if low < candidate < high and (cost := at(candidate)) is not None:
                return candidate, cost
    return None

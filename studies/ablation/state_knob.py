"""What makes the state of a variant larger or smaller: the gin key of the knob that one of its parts names.

An attention's memory goes before a knob of the core, since an attention looks back as far as it is told to while what a
core holds follows from its equations. The width D, which changes everything else as well, is the last resort.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from rnnlab import registry
from rnnlab.config import Config
from rnnlab.errors import ConfigError
from rnnlab.interfaces import HasStateKnob
from rnnlab.training import experiment

WIDTH = "LanguageModel.dim"
REMEDY = "name a gin key in Ablation.widths"


@dataclass(frozen=True)
class Knob:
    """A part with the argument that its state grows with; None if it names none."""

    part: registry.Part
    argument: str | None


def state_key(name: str, config: Config) -> tuple[str, str]:
    """The gin key or macro of a variant that its state grows with, and the selectors of the parts that name it.

    Raises: ConfigError naming the variant and its part, where a part names no knob or no argument of its own, or there
    are several keys to choose from.
    """
    found: dict[str, list[str]] = {}
    for knob in _foremost(name, list(dict.fromkeys(_knobs(config)))):
        for key in _keys(name, config, knob):
            found.setdefault(key, []).append(knob.part.selector)
    if len(found) > 1:
        raise ConfigError(f"variant {name!r} can match its state by any of {', '.join(found)}; {REMEDY}")
    ((key, selectors),) = found.items()
    return key, " and ".join(selectors)


def _keys(name: str, config: Config, knob: Knob) -> list[str]:
    """Raises: ConfigError unless there is one at least."""
    argument, selector = knob.argument, knob.part.selector
    if argument == "dim":
        return [WIDTH]
    if argument is None or argument not in inspect.signature(knob.part.factory).parameters:
        named = "names nothing" if argument is None else f"has no argument {argument!r}"
        raise ConfigError(
            f"variant {name!r}: {selector} {named} to match its state by; give its class `state_knob = 'ARGUMENT'`, or "
            f"{REMEDY}"
        )
    given = config.suppliers(selector, argument)
    if not given:
        raise ConfigError(f"variant {name!r}: what builds {selector} gives it {argument!r} itself; {REMEDY}")
    return [key for key, value in given.items() if value is not None] or list(given)  # None: no attention in that scope


def _knobs(config: Config) -> Iterator[Knob]:
    """Of every attention and core that the configuration builds."""
    parts = {part.factory: part for kind in ("attention", "core") for part in registry.parts(kind)}
    for module in experiment.build(config, shapes_only=True, needs_source=False).model.modules():
        if (part := parts.get(type(module))) is not None:
            yield Knob(part, module.state_knob if isinstance(module, HasStateKnob) else None)


def _foremost(name: str, knobs: list[Knob]) -> list[Knob]:
    """Those that come first. Raises: ConfigError if there is none at all."""
    attentions = [knob for knob in knobs if knob.part.kind == "attention"]
    cores = [knob for knob in knobs if knob.part.kind == "core"]
    foremost = attentions or [knob for knob in cores if knob.argument != "dim"] or cores
    if not foremost:
        raise ConfigError(f"variant {name!r} has no attention or core of the registry to match its state by; {REMEDY}")
    return foremost

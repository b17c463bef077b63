"""What stands to the right of the equals sign: literals, references to parts, and macros, nested in lists and dicts."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from rnnlab.errors import ConfigError

Value: TypeAlias = Any  # bool | int | float | str | bytes | None | Reference | Macro | list, tuple or dict of Value

LARGEST_EXPANSION = 10_000  # values; macros that name each other can double at every step


@dataclass(frozen=True)
class Reference:
    """`@scope/core.LSTM`, or with `evaluate` `@scope/core.LSTM()`: what it returns rather than the factory."""

    scope: str
    selector: str
    evaluate: bool = False


@dataclass(frozen=True)
class Macro:
    """`%name`: the value bound to the name, wherever it stands."""

    name: str


def format_value(value: Value) -> str:
    """The value on one line, in the form that parses back to it exactly. Raises: ValueError for nan and for objects."""
    match value:
        case Reference():
            return "@" + scoped(value.scope, value.selector) + ("()" if value.evaluate else "")
        case Macro():
            return f"%{value.name}"
        case float() if math.isinf(value):
            return "1e999" if value > 0 else "-1e999"  # the literal that overflows to it: `inf` is no literal
        case float() if math.isnan(value):
            raise ValueError("nan is no literal")
        case None | bool() | int() | float() | str() | bytes():
            return repr(value)
        case list():
            return "[" + ", ".join(map(format_value, value)) + "]"
        case tuple():
            return "(" + ", ".join(map(format_value, value)) + ("," if len(value) == 1 else "") + ")"
        case dict():
            return "{" + ", ".join(f"{format_value(k)}: {format_value(v)}" for k, v in value.items()) + "}"
    raise ValueError(f"a {type(value).__name__} is no literal")


def scoped(scope: str, name: str) -> str:
    return f"{scope}/{name}" if scope else name


def shorten(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def leaves(value: Value) -> Iterator[Value]:
    """Everything in the value that is not a list, tuple or dict; keys of a dict are literals and left out."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for child in value:
            yield from leaves(child)
    else:
        yield value


def references(value: Value) -> Iterator[Reference]:
    return (leaf for leaf in leaves(value) if isinstance(leaf, Reference))


def replace(value: Value, leaf: Callable[[Value], Value]) -> Value:
    """The same lists, tuples and dicts, made anew, with `leaf` applied to what they hold."""
    match value:
        case list():
            return [replace(child, leaf) for child in value]
        case tuple():
            return tuple(replace(child, leaf) for child in value)
        case dict():
            return {key: replace(child, leaf) for key, child in value.items()}
    return leaf(value)


def expand(value: Value, definitions: Mapping[str, Value]) -> Value:
    """The value with macros replaced. Raises: ConfigError if one is undefined or circular, or it gets too large."""
    seen = 0

    def resolve(leaf: Value, chain: tuple[str, ...] = ()) -> Value:
        nonlocal seen
        seen += 1
        if seen > LARGEST_EXPANSION:
            raise ConfigError(f"its macros expand to more than {LARGEST_EXPANSION} values")
        if not isinstance(leaf, Macro):
            return leaf
        if leaf.name in chain:
            raise ConfigError("macros in a circle: " + " -> ".join(f"%{name}" for name in (*chain, leaf.name)))
        if leaf.name not in definitions:
            raise ConfigError(f"no macro %{leaf.name} is defined")
        return replace(definitions[leaf.name], lambda child: resolve(child, (*chain, leaf.name)))

    return replace(value, resolve)

"""One line of a configuration, and how much it weighs against another."""

import enum
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from rnnlab.config.values import Macro, Value, format_value, leaves, references, scoped, shorten
from rnnlab.registry import bindable


class Precedence(enum.IntEnum):
    """Who wins where two bindings set one key: the higher precedence, wherever it stands on the command line."""

    ROOT = 0  # a model: top of the config folder, a user's file that binds LanguageModel.blocks, a run's config.gin
    SIZE = 1
    TRAIN = 2
    PART = 3  # every other folder
    OVERLAY = 4  # a user's file that is no root
    OVERRIDE = 5  # --set


@dataclass(frozen=True)
class Binding:
    """`scope/selector.argument = value`, or with an empty selector the macro `scope/argument = value`."""

    scope: str
    selector: str  # full, `core.LSTM` or `Block`
    argument: str
    value: Value  # with its macros unexpanded
    location: str  # "file:line" or "--set"
    precedence: Precedence
    folder: str = ""  # that relative paths in it are relative to
    is_default: bool = False  # it may stay without effect, whatever its precedence; see `Config.vary`

    @cached_property
    def key(self) -> str:
        return scoped(self.scope, f"{self.selector}.{self.argument}" if self.selector else self.argument)

    @property
    def may_be_idle(self) -> bool:
        """Roots, sizes and recipes hold defaults for parts that a variant swaps out."""
        return self.is_default or self.precedence <= Precedence.TRAIN

    @cached_property
    def text(self) -> str:
        return format_value(self.value)

    @cached_property
    def macros(self) -> tuple[str, ...]:
        return tuple(leaf.name for leaf in leaves(self.value) if isinstance(leaf, Macro))

    def anchored(self) -> "Binding":
        """The same with an absolute path for a relative one."""
        if not isinstance(self.value, str) or not self.value:
            return self
        path = os.path.join(self.folder, os.path.expanduser(self.value))
        return replace(self, value=os.path.abspath(path))

    def __str__(self) -> str:
        return f"{self.location}: `{self.key} = {shorten(self.text, 60)}`"


def macro_chain(names: Iterable[str], bindings: Mapping[str, Binding]) -> list[str]:
    """The macros that the names stand for, directly and through other macros, each once, from the outside in."""
    chain: list[str] = []
    for name in names:
        for reached in (name, *macro_chain(bindings[name].macros, bindings)):
            if reached not in chain:
                chain.append(reached)
    return chain


def prefixes(scope: str) -> list[str]:
    """The scopes whose bindings reach a call in `scope`, the most specific first: a/b, a, "" for a/b."""
    parts = scope.split("/") if scope else []
    return ["/".join(parts[:length]) for length in range(len(parts), -1, -1)]


def supplier(bindings: Mapping[str, Binding], scope: str, selector: str, argument: str) -> Binding | None:
    """The binding that gives a call in `scope` its argument: the one in the most specific scope."""
    keys = (scoped(prefix, f"{selector}.{argument}") for prefix in prefixes(scope))
    return next((bindings[key] for key in keys if key in bindings), None)


@dataclass(frozen=True)
class Reach:
    """What a set of bindings can have an effect on, judged from their references alone."""

    selectors: frozenset[str]  # parts and classes that are referred to, or that the engine builds
    scopes: frozenset[str]  # those that references enter, with their prefixes
    macros: frozenset[str]  # names that bindings in reach refer to
    keys: frozenset[str]  # of the bindings in reach, macros included


def reach(bindings: Mapping[str, Binding]) -> Reach:
    """Follow the references from the classes of the engine until nothing new is reached."""
    selectors, scopes = {selector for selector in bindable() if "." not in selector}, {""}
    names, keys = set[str](), set[str]()
    while True:
        fresh = [
            binding
            for key, binding in bindings.items()
            if key not in keys
            and (binding.selector in selectors and binding.scope in scopes if binding.selector else key in names)
        ]
        if not fresh:
            return Reach(frozenset(selectors), frozenset(scopes), frozenset(names), frozenset(keys))
        for binding in fresh:
            keys.add(binding.key)
            names.update(binding.macros)
            for reference in references(binding.value):
                selectors.add(reference.selector)
                scopes.update(prefixes(reference.scope))

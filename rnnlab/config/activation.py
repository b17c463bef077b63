"""gin's runtime, used for one configuration at a time: bind, build, look at what was used, forget."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gin
import gin.config

from rnnlab.config.bindings import Binding, prefixes, supplier
from rnnlab.config.checks import parameters
from rnnlab.config.translation import translate
from rnnlab.config.values import Reference, Value, format_value, replace, scoped
from rnnlab.registry import bindable, gin_selector

_active = threading.Lock()
_holder: int | None = None  # the thread that has it


def construct(selector: str, *args: Any, **kwargs: Any) -> Any:
    """Call a part or class with what the active configuration binds for it; explicit arguments win."""
    assert _active.locked(), "inside `with config.activate():` only"
    return gin.get_configurable(gin_selector(selector))(*args, **kwargs)


Calls = dict[tuple[str, str], list[str]]


@dataclass
class Operative:
    """What was called while a configuration was active."""

    recorded: Calls | None = None  # None as long as it is active: then gin knows

    @property
    def calls(self) -> Calls:
        """{(scope, selector): arguments that a binding or a default supplied}."""
        if self.recorded is not None:
            return self.recorded
        return {
            (scope, selector.removeprefix("rnnlab.")): list(arguments)
            for (scope, selector), arguments in gin.config._OPERATIVE_CONFIG.items()
        }

    def effective(self, bindings: Mapping[str, Binding]) -> set[str]:
        """Keys of the bindings that supplied an argument at least once."""
        suppliers = (
            supplier(bindings, scope, selector, argument)
            for (scope, selector), arguments in self.calls.items()
            for argument in arguments
        )
        return {binding.key for binding in suppliers if binding is not None}

    def suppliers(self, bindings: Mapping[str, Binding], selector: str, argument: str) -> list[Binding | None]:
        """The binding that gave a part its argument in every scope in which it was called, None for its default."""
        calls = [scope for (scope, called), given in self.calls.items() if called == selector and argument in given]
        return [supplier(bindings, scope, selector, argument) for scope in calls]

    def text(self, bindings: Mapping[str, Binding], expanded: Callable[[Binding], Value]) -> str:
        """A gin file of what was built, a paragraph a part, a comment with the origin of each value."""
        paragraphs = []
        for (scope, selector), arguments in sorted(self.calls.items(), key=lambda call: (call[0][1], call[0][0])):
            signature = parameters(bindable()[selector])
            lines = []
            for argument in sorted(arguments, key=list(signature).index):
                value, origin = signature[argument].default, "default"
                if binding := supplier(bindings, scope, selector, argument):
                    value, origin = expanded(binding), ", %".join((binding.location, *binding.macros))
                lines.append(f"{scoped(scope, selector)}.{argument} = {format_value(value)}  # {origin}\n")
            paragraphs.append("".join(lines))
        return "\n".join(filter(None, paragraphs))

    def why_idle(self, binding: Binding) -> str:
        """Why a binding supplied nothing, and what to do."""
        if not binding.selector:
            return f"no binding that took effect refers to %{binding.key}"
        scopes = [scope for scope, selector in self.calls if selector == binding.selector]
        if not scopes:
            return f"no {binding.selector} was built; bind it into a slot or drop this line"
        reached = [scope for scope in scopes if binding.scope in prefixes(scope)]
        if not reached:
            built = ", ".join(repr(scope) if scope else "no scope" for scope in scopes)
            return f"{binding.selector} was built in {built}, not in {binding.scope!r}"
        if all(binding.argument not in self.calls[scope, binding.selector] for scope in reached):
            return f"what builds {binding.selector} gives it {binding.argument!r} itself; drop this line"
        return "bindings in narrower scopes take its place everywhere; drop it or them"


@contextlib.contextmanager
def activated(bindings: Mapping[str, Binding], expanded: Callable[[Binding], Value]) -> Iterator[Operative]:
    """Bind everything in gin for the time of the block; see `Config.activate`."""
    operative = Operative()
    with _own_turn(), _own_gin():
        try:
            for binding in bindings.values():
                if binding.selector:
                    key = (binding.scope, gin_selector(binding.selector), binding.argument)
                    gin.bind_parameter(key, replace(expanded(binding), _for_gin))
            yield operative
        except Exception as error:
            plain = translate(error, bindings, expanded)
            if plain is error:
                raise
            raise plain from plain.__cause__
        finally:
            operative.recorded = operative.calls  # gin forgets at the end


@contextlib.contextmanager
def _own_turn() -> Iterator[None]:
    """gin has one state for a process: the other threads wait."""
    global _holder
    if _holder == threading.get_ident():
        raise RuntimeError("a configuration is active in this thread already; build one after the other")
    with _active:
        _holder = threading.get_ident()
        try:
            yield
        finally:
            _holder = None


@contextlib.contextmanager
def _own_gin() -> Iterator[None]:
    """An empty gin; afterwards it is again what the program around us had made of it."""
    names = ("_CONFIG", "_SINGLETONS", "_IMPORTS", "_OPERATIVE_CONFIG")
    kept = {name: getattr(gin.config, name).copy() for name in names}
    locked = gin.config_is_locked()
    gin.clear_config()
    try:
        with gin.config_scope(None):
            yield
    finally:
        gin.clear_config()
        for name, content in kept.items():
            getattr(gin.config, name).update(content)
        gin.config._set_config_is_locked(locked)


def _for_gin(leaf: Value) -> Any:
    if not isinstance(leaf, Reference):
        return leaf
    return gin.config.ConfigurableReference(scoped(leaf.scope, gin_selector(leaf.selector)), leaf.evaluate)

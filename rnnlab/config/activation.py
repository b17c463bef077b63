"""gin's runtime, used for one configuration at a time: bind, build, look at what was used, forget."""

import contextlib
import inspect
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import gin
import gin.config

from rnnlab.config.bindings import Binding, macro_chain, prefixes
from rnnlab.config.checks import parameters
from rnnlab.config.values import Reference, Value, format_value, references, replace, scoped
from rnnlab.errors import ConfigError, RnnlabError
from rnnlab.registry import bindable, gin_selector

_active = threading.Lock()


def construct(selector: str, *args: Any, **kwargs: Any) -> Any:
    """Call a part or noun with what the active configuration binds for it; explicit arguments win."""
    assert _active.locked(), "inside `with config.activate():` only"
    return gin.get_configurable(gin_selector(selector))(*args, **kwargs)


@dataclass
class Operative:
    """What was called while a configuration was active.

    Attributes:
        calls: {(scope, selector): arguments that a binding or a default supplied}.
    """

    calls: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def record(self) -> None:
        """Copy from gin, which forgets at the end."""
        self.calls = {
            (scope, selector.removeprefix("rnnlab.")): list(arguments)
            for (scope, selector), arguments in gin.config._OPERATIVE_CONFIG.items()
        }

    def effective(self, bindings: Mapping[str, Binding]) -> set[str]:
        """Keys of the bindings that supplied an argument at least once."""
        suppliers = (
            self._supplier(bindings, scope, selector, argument)
            for (scope, selector), arguments in self._now().items()
            for argument in arguments
        )
        return {binding.key for binding in suppliers if binding is not None}

    def text(self, bindings: Mapping[str, Binding], expanded: Callable[[Binding], Value]) -> str:
        """A gin file of what was built, a paragraph a part, a comment with the origin of each value."""
        paragraphs = []
        for (scope, selector), arguments in sorted(self._now().items(), key=lambda call: (call[0][1], call[0][0])):
            signature = parameters(bindable()[selector])
            lines = []
            for argument in sorted(arguments, key=list(signature).index):
                binding = self._supplier(bindings, scope, selector, argument)
                value = signature[argument].default if binding is None else expanded(binding)
                origin = "default" if binding is None else _origin(binding)
                lines.append(f"{scoped(scope, selector)}.{argument} = {format_value(value)}  # {origin}\n")
            paragraphs.append("".join(lines))
        return "\n".join(paragraph for paragraph in paragraphs if paragraph)

    def why_idle(self, binding: Binding) -> str:
        """Why a binding supplied nothing, and what to do."""
        scopes = [scope for scope, selector in self._now() if selector == binding.selector]
        if not scopes:
            return f"no {binding.selector} was built; bind it into a slot or drop this line"
        reached = [scope for scope in scopes if binding.scope in prefixes(scope)]
        if not reached:
            built = ", ".join(repr(scope) if scope else "no scope" for scope in scopes)
            return f"{binding.selector} was built in {built}, not in {binding.scope!r}"
        if all(binding.argument not in self._now()[scope, binding.selector] for scope in reached):
            return f"what builds {binding.selector} gives it {binding.argument!r} itself; drop this line"
        return "bindings in narrower scopes take its place everywhere; drop it or them"

    def _supplier(self, bindings: Mapping[str, Binding], scope: str, selector: str, argument: str) -> Binding | None:
        keys = (scoped(prefix, f"{selector}.{argument}") for prefix in prefixes(scope))
        return next((bindings[key] for key in keys if key in bindings), None)

    def _now(self) -> dict[tuple[str, str], list[str]]:
        if _holder is self:
            self.record()
        return self.calls


_holder: Operative | None = None


@contextlib.contextmanager
def activated(bindings: Mapping[str, Binding], expanded: Callable[[Binding], Value]) -> Iterator[Operative]:
    """Bind everything in gin for the time of the block; see `Config.activate`."""
    global _holder
    if not _active.acquire(blocking=False):
        raise RuntimeError(
            "another configuration is active in this process; gin has one state, so one process is one run"
        )
    operative = _holder = Operative()
    try:
        gin.clear_config()
        for binding in bindings.values():
            if binding.selector:
                key = (binding.scope, gin_selector(binding.selector), binding.argument)
                gin.bind_parameter(key, replace(expanded(binding), _for_gin))
        yield operative
    except Exception as error:
        plain = _plain(error, bindings, expanded)
        if plain is error:
            raise
        raise plain from plain.__cause__
    finally:
        operative.record()
        _holder = None
        gin.clear_config()
        _active.release()


def _for_gin(leaf: Value) -> Any:
    if not isinstance(leaf, Reference):
        return leaf
    return gin.config.ConfigurableReference(scoped(leaf.scope, gin_selector(leaf.selector)), leaf.evaluate)


def _origin(binding: Binding) -> str:
    via = "".join(f", %{name}" for name in binding.macros)
    return binding.location + via


def _plain(error: Exception, bindings: Mapping[str, Binding], expanded: Callable[[Binding], Value]) -> Exception:
    """The error that a part raised, out of the proxies that gin wraps around it at every call; as a ConfigError, with
    the place of the binding, where it is about an argument."""
    original, call = error, ""
    while (wrapped := _wrapped(original)) is not None:
        original, call = wrapped
    place = re.search(r"In call to configurable '(\w+)'.*?(?: in scope '(.*)')?$", call)
    if place is None:
        return original
    name, scope = place[1], place[2] or ""
    selector = next(known for known in bindable() if known.rpartition(".")[2] == name)
    where = _bound_at(str(original), selector, scope, bindings)
    if isinstance(original, RnnlabError):
        original.args = (f"{original}{where}",)
        return original
    if refused := _refused_call(original, bindable()[selector]):
        users = [binding for binding in bindings.values() if _refers(expanded(binding), selector)]
        user = f" ({max(users, key=lambda user: user.rank).location} refers to it)" if users else ""
        missing = re.findall(r"'(\w+)'", refused) if refused.startswith("missing") else []
        if missing:
            names = " and ".join(map(repr, missing))
            told = ConfigError(f"{selector} needs {names}{user}; bind {scoped(scope, selector)}.{missing[0]} = ...")
        else:
            told = ConfigError(f"{selector} does not fit the slot that it is bound to{user}: it {refused}")
    elif isinstance(original, ValueError):
        told = ConfigError(f"{selector}: {original}{where}")
    else:
        original.add_note(f"while building {scoped(scope, selector)}")
        return original
    told.__cause__ = original
    return told


def _wrapped(error: Exception) -> tuple[Exception, str] | None:
    """The exception inside one of gin's proxies, and what the proxy says; the proxy keeps both in a closure."""
    show = type(error).__str__
    if "augment_exception_message_and_reraise" not in getattr(show, "__qualname__", ""):
        return None
    inside = inspect.getclosurevars(show).nonlocals
    return inside["exception"], inside["message"]


def _bound_at(message: str, selector: str, scope: str, bindings: Mapping[str, Binding]) -> str:
    """` (file:line)`, where the first argument that the message names was bound; empty if none was."""
    for word in re.findall(r"\w+", message):
        for prefix in prefixes(scope):
            binding = bindings.get(scoped(prefix, f"{selector}.{word}"))
            if binding is not None:
                places = [bindings[name].location for name in reversed(macro_chain(binding.macros, bindings))]
                return f" ({', through '.join([*places, binding.location])})"
    return ""


def _refused_call(error: Exception, factory: Callable[..., Any]) -> str:
    """What Python says where the arguments of a call to the factory do not match its signature; empty if they do."""
    match = (
        re.match(r"([\w.<>]+)\(\) ((?:missing|got|takes) .+)$", str(error)) if isinstance(error, TypeError) else None
    )
    return match[2] if match and match[1].removesuffix(".__init__") == factory.__qualname__ else ""


def _refers(value: Value, selector: str) -> bool:
    return any(reference.selector == selector for reference in references(value))

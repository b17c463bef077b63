"""Errors that parts raise while gin builds them, in the words of the configuration.

gin wraps a proxy around an exception at every configured call that it passes: its arguments are gone and it does not
pickle. Here it comes out as it was raised, or as a ConfigError that says where the value was bound.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rnnlab.config.bindings import Binding, macro_chain, supplier
from rnnlab.config.values import Value, references, scoped
from rnnlab.errors import ConfigError, RnnlabError
from rnnlab.registry import bindable


class Call(NamedTuple):
    """A configured call that was under way."""

    selector: str
    scope: str


def translate(error: Exception, bindings: Mapping[str, Binding], expanded: Callable[[Binding], Value]) -> Exception:
    """The exception to raise in place of one that came through gin; the same one if it did not.

    What is meant for users keeps its type and gains the place of the binding. A call that does not match a part's
    signature and a ValueError become ConfigErrors. Anything else is a bug and stays what it was, with a note.
    """
    original, calls = _unwrap(error)
    if not calls:
        return original
    call = calls[0]
    where = _bound_at(str(original), calls, bindings)
    if isinstance(original, RnnlabError):
        original.args = (f"{original}{where}",)
        return original
    if refused := _refused_call(original, bindable()[call.selector]):
        told = ConfigError(_misfit(call, refused, _referring(call.selector, bindings, expanded)))
    elif isinstance(original, ValueError):
        told = ConfigError(f"{call.selector}: {original}{where}")
    else:
        original.add_note(f"while building {scoped(call.scope, call.selector)}")
        return original
    told.__cause__ = original
    return told


def _unwrap(error: Exception) -> tuple[Exception, Sequence[Call]]:
    """The exception inside gin's proxies, and the calls it passed, innermost first."""
    calls: list[Call] = []
    while "augment_exception_message_and_reraise" in getattr(type(error).__str__, "__qualname__", ""):
        kept = inspect.getclosurevars(type(error).__str__).nonlocals  # nowhere else does the proxy keep what it wraps
        error = kept["exception"]
        if place := re.search(r"In call to configurable '(\w+)'.*?(?: in scope '(.*)')?$", kept["message"]):
            selector = next(known for known in bindable() if known.rpartition(".")[2] == place[1])
            calls.insert(0, Call(selector, place[2] or ""))
    return error, calls


def _bound_at(message: str, calls: Sequence[Call], bindings: Mapping[str, Binding]) -> str:
    """` (file:line)`, where the first argument that the message names was bound; empty if none was."""
    words = re.findall(r"\w+", message)
    named = (supplier(bindings, call.scope, call.selector, word) for call in calls for word in words)
    binding = next(filter(None, named), None)
    if binding is None:
        return ""
    places = [bindings[name].location for name in reversed(macro_chain(binding.macros, bindings))]
    return f" ({', through '.join([*places, binding.location])})"


def _refused_call(error: Exception, factory: Callable[..., Any]) -> str:
    """What Python says where the arguments of a call to the factory do not match its signature; empty if they do."""
    match = re.match(r"([\w.<>]+)\(\) ((?:missing|got|takes) .+)$", str(error))
    ours = match is not None and match[1].removesuffix(".__init__") == factory.__qualname__
    return match[2] if match and ours and isinstance(error, TypeError) else ""


def _misfit(call: Call, refused: str, user: str) -> str:
    missing = re.findall(r"'(\w+)'", refused) if refused.startswith("missing") else []
    if missing:
        names = " and ".join(map(repr, missing))
        return f"{call.selector} needs {names}{user}; bind {scoped(call.scope, call.selector)}.{missing[0]} = ..."
    return f"{call.selector} does not fit the slot that it is bound to{user}: it {refused}"


def _referring(selector: str, bindings: Mapping[str, Binding], expanded: Callable[[Binding], Value]) -> str:
    """` (file:line refers to it)` of the weightiest binding that refers to a part; empty if none does."""
    users = [b for b in bindings.values() if any(r.selector == selector for r in references(expanded(b)))]
    return f" ({max(users, key=lambda user: user.precedence).location} refers to it)" if users else ""

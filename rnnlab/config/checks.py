"""What can be known of a binding before anything is built: names, references, types.

Every check raises ConfigError in one line: place, binding, what is wrong, the nearest name.
"""

import collections.abc
import inspect
import types
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from rnnlab.config.bindings import Binding, Precedence
from rnnlab.config.parser import Assignment
from rnnlab.config.values import Macro, Reference, Value, expand, format_value, replace, shorten
from rnnlab.errors import ConfigError
from rnnlab.interfaces import KINDS, Place
from rnnlab.registry import bindable, did_you_mean

RENAMED = {
    "Trainer.lanes": "batch_size",
    "Trainer.chunk": "bptt",
    "Trainer.corpus": "source",
    "Trainer.eval_lanes": "eval_batch_size",
    "Trainer.eval_chunk": "eval_bptt",
}
"""What configurations of 0.1.0 said. They are refused, and told the new word."""


def check(assignment: Assignment, location: str, precedence: Precedence, folder: str = "") -> Binding:
    """The binding that an assignment makes, with full selectors in its key and in its references.

    Args:
        folder: that relative paths are relative to.
    Raises: ConfigError for an unknown part, argument or reference, and for a literal of the wrong type.
    """
    try:
        selector = full_selector(assignment.selector) if assignment.selector else ""
        value = replace(assignment.value, _with_full_selector)
    except ConfigError as error:
        raise ConfigError(f"{location}: {error}") from None
    binding = Binding(assignment.scope, selector, assignment.argument, value, location, precedence, folder)
    if selector:
        _check_argument(binding)
        _check_type(binding, value)
    return binding


def is_place(selector: str, argument: str) -> bool:
    """Whether an argument says where a file lies."""
    known = parameters(bindable()[selector]) if selector in bindable() else {}
    hint = known[argument].annotation if argument in known else Any
    return hint is Place or Place in get_args(hint)


def full_selector(given: str) -> str:
    """`core.LSTM` for `LSTM`, `core.LSTM` and no other. Raises: ConfigError with the nearest name."""
    known = bindable()
    if given in known:
        return given
    by_name = {selector.rpartition(".")[2]: selector for selector in known}
    if given in by_name:
        return by_name[given]
    raise ConfigError(f"there is no part or class {given!r}{did_you_mean(given, [*by_name, *known])}")


def check_expanded(binding: Binding, definitions: Mapping[str, Binding]) -> None:
    """Check a binding with macros replaced. Raises: ConfigError for an undefined or circular macro, or a wrong type."""
    try:
        value = expand(binding.value, {name: macro.value for name, macro in definitions.items()})
    except ConfigError as error:
        nearest = next((did_you_mean(name, definitions) for name in binding.macros if name not in definitions), "")
        raise ConfigError(f"{binding}: {error}{nearest}") from None
    if binding.selector and binding.macros:
        sources = ", ".join(f"{definitions[name]}" for name in binding.macros)
        _check_type(binding, value, f" (from {sources})")


@cache
def parameters(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """What can be bound on a part or class, with annotations that are types and not text."""
    signature = inspect.signature(factory)
    try:
        hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    except (NameError, TypeError, AttributeError):  # annotations that exist for type checkers only
        hints = {}
    return {
        name: parameter.replace(annotation=hints.get(name, Any))
        for name, parameter in signature.parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def _with_full_selector(leaf: Value) -> Value:
    if not isinstance(leaf, Reference):
        return leaf
    return Reference(leaf.scope, full_selector(leaf.selector), leaf.evaluate)


def _check_argument(binding: Binding) -> None:
    known = parameters(bindable()[binding.selector])
    if binding.argument not in known:
        if (now := RENAMED.get(f"{binding.selector}.{binding.argument}")) is not None:
            raise ConfigError(f"{binding}: since rnnlab 0.1.0 this is called {binding.selector}.{now}")
        nearest = did_you_mean(binding.argument, known) or f"; it takes {', '.join(known) or 'nothing'}"
        raise ConfigError(f"{binding}: {binding.selector} has no argument {binding.argument!r}{nearest}")


def _check_type(binding: Binding, value: Value, origin: str = "") -> None:
    hint = parameters(bindable()[binding.selector])[binding.argument].annotation
    if not fits(value, hint):
        problem = f"{binding.argument} takes {describe(hint)}, not {_described(value)}"
        words = [word for word in get_args(hint) if isinstance(word, str)] if get_origin(hint) is Literal else []
        nearest = did_you_mean(value, words) if isinstance(value, str) else ""
        raise ConfigError(f"{binding}: {problem}{nearest}{origin}")
    _check_kind(binding, value, origin)


def _check_kind(binding: Binding, value: Value, origin: str) -> None:
    """An argument named after a kind takes that kind: `Block.attention = @core.LSTM` would build and fail far away."""
    if binding.argument not in KINDS or not isinstance(value, Reference):
        return
    kind = value.selector.rpartition(".")[0]
    if kind and kind != binding.argument:
        fitting = sorted(selector for selector in bindable() if selector.startswith(f"{binding.argument}."))
        choice = f"; there are {', '.join('@' + selector for selector in fitting)}" if fitting else ""
        raise ConfigError(f"{binding}: {binding.argument} takes parts of that kind, not of kind {kind}{choice}{origin}")


_PLAIN = (bool, int, float, str, bytes, list, tuple, dict, types.NoneType, PurePath)
_SEQUENCES = (collections.abc.Sequence, collections.abc.Collection, collections.abc.Iterable)


def fits(value: Value, hint: Any) -> bool:
    """Whether a value may stand where an annotation says `hint`. An int is a float, a bool is no int, a macro fits."""
    if isinstance(value, Macro) or hint in (Any, object) or isinstance(hint, TypeVar | str):
        return True
    if isinstance(value, Reference) and value.evaluate:
        return True  # what it returns is known only once it is called
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return fits(value, arguments[0])
    if origin in (Union, types.UnionType):
        return any(fits(value, member) for member in arguments)
    if origin is Literal:
        return any(type(value) is type(member) and value == member for member in arguments)
    if hasattr(hint, "__supertype__"):  # typing.NewType
        return fits(value, hint.__supertype__)
    return _fits_class(value, origin or hint, arguments)


def _fits_class(value: Value, base: Any, arguments: tuple[Any, ...]) -> bool:
    if isinstance(value, Reference):
        return not (isinstance(base, type) and issubclass(base, _PLAIN)) and base not in _SEQUENCES
    if base is None:
        return value is None
    if base in (int, float):
        return isinstance(value, int if base is int else int | float) and not isinstance(value, bool)
    if base is tuple and isinstance(value, tuple) and arguments and Ellipsis not in arguments:
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if base in (list, tuple, *_SEQUENCES):
        right = isinstance(value, base if base in (list, tuple) else list | tuple)
        return right and all(fits(child, arguments[0]) for child in value if arguments)
    if base in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
        return isinstance(value, dict) and all(
            fits(key, arguments[0]) and fits(child, arguments[1]) for key, child in value.items() if arguments
        )
    if base is collections.abc.Callable:
        return False
    try:
        return isinstance(value, base)
    except TypeError:  # a form of annotation that cannot be asked
        return True


def describe(hint: Any) -> str:
    """An annotation in the words of a gin file."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(member) for member in arguments))
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if hint in (None, types.NoneType):
        return "None"
    if (origin or hint) in (collections.abc.Callable, type):
        return "a reference (@...)"
    if origin in (list, tuple, *_SEQUENCES) and arguments:
        return f"a {'tuple' if origin is tuple else 'list'} of {describe(arguments[0])}"
    name = getattr(origin or hint, "__name__", str(hint))
    return {"int": "an int", "float": "a number", "str": "a string", "bool": "True or False"}.get(name, f"a {name}")


def _described(value: Value) -> str:
    kind = "" if value is None or isinstance(value, Reference | bool) else f"the {type(value).__name__} "
    return kind + shorten(format_value(value), 40)

"""In what two configurations differ once everything is resolved: the proof that an ablation changed one thing."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

from rnnlab.config.bindings import Binding, supplier
from rnnlab.config.checks import parameters
from rnnlab.config.resolution import Config
from rnnlab.config.values import format_value
from rnnlab.registry import bindable


@dataclass(frozen=True)
class Difference:
    """One key with its two values; None where the part is not used, or nothing is bound and there is no default."""

    key: str
    left: str | None
    right: str | None


def diff(left: Config, right: Config) -> list[Difference]:
    """Every key whose value differs, by key: macros replaced, wider scopes and the parts' own defaults followed.

    A part that only one side uses is a difference where it was bound to something else than its default.
    """
    bindings = {binding.key: binding for config in (right, left) for binding in config.bindings.values()}
    differences = []
    for key, binding in sorted(bindings.items()):
        if binding.selector and _uses(left, binding) + _uses(right, binding) > 0:
            pair = _value(left, binding), _value(right, binding)
            default = _default(binding)
            if pair[0] != pair[1] and set(pair) != {None, default}:
                differences.append(Difference(key, *pair))
    return differences


def format_differences(differences: Sequence[Difference]) -> str:
    """A line a key, `key: left -> right`, aligned; `-` where a side has none."""
    width = max((len(difference.key) for difference in differences), default=0)
    return "".join(f"{d.key:<{width}}  {d.left or '-'} -> {d.right or '-'}\n" for d in differences)


def _uses(config: Config, binding: Binding) -> bool:
    return binding.selector in config.reach.selectors and binding.scope in config.reach.scopes


def _value(config: Config, binding: Binding) -> str | None:
    if binding.selector not in config.reach.selectors:
        return None
    bound = supplier(config.bindings, binding.scope, binding.selector, binding.argument)
    return _default(binding) if bound is None else format_value(config.expanded(bound))


def _default(binding: Binding) -> str | None:
    default = parameters(bindable()[binding.selector])[binding.argument].default
    if default is inspect.Parameter.empty:
        return None
    try:
        return format_value(default)
    except ValueError:  # a default that is an object
        return repr(default)

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
    is_default: bool = False  # of a part that one side alone uses, which nothing binds


def diff(left: Config, right: Config) -> list[Difference]:
    """Every key whose value differs, by key: macros replaced, wider scopes and the parts' own defaults followed.

    A part that only one side uses is a difference in all its arguments, those that it has by default included.
    """
    bindings = {binding.key: binding for config in (right, left) for binding in config.bindings.values()}
    differences = []
    for key, binding in bindings.items():
        if binding.selector and _uses(left, binding) + _uses(right, binding) > 0:
            pair = _value(left, binding), _value(right, binding)
            if pair[0] != pair[1]:
                differences.append(Difference(key, *pair))
    for selector in left.reach.selectors ^ right.reach.selectors:
        for argument in parameters(bindable()[selector]):
            default = _default(selector, argument)
            if default is not None and f"{selector}.{argument}" not in bindings:
                on_the_left = selector in left.reach.selectors
                pair = (default, None) if on_the_left else (None, default)
                differences.append(Difference(f"{selector}.{argument}", pair[0], pair[1], is_default=True))
    return sorted(differences, key=lambda difference: difference.key)


def format_differences(differences: Sequence[Difference]) -> str:
    """A line a key, `key: left -> right`, aligned; `-` where a side has none."""
    width = max((len(difference.key) for difference in differences), default=0)
    return "".join(
        f"{d.key:<{width}}  {d.left or '-'} -> {d.right or '-'}{'  (default)' if d.is_default else ''}\n"
        for d in differences
    )


def _uses(config: Config, binding: Binding) -> bool:
    return binding.selector in config.reach.selectors and binding.scope in config.reach.scopes


def _value(config: Config, binding: Binding) -> str | None:
    if binding.selector not in config.reach.selectors:
        return None
    bound = supplier(config.bindings, binding.scope, binding.selector, binding.argument)
    return _default(binding.selector, binding.argument) if bound is None else format_value(config.expanded(bound))


def _default(selector: str, argument: str) -> str | None:
    default = parameters(bindable()[selector])[argument].default
    if default is inspect.Parameter.empty:
        return None
    try:
        return format_value(default)
    except ValueError:  # a default that is an object
        return repr(default)

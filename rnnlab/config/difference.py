"""In what two configurations differ once everything is resolved: the proof that an ablation changed one thing."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rnnlab.config.bindings import Binding, supplier
from rnnlab.config.checks import is_place, parameters
from rnnlab.config.resolution import Config
from rnnlab.config.values import format_value
from rnnlab.registry import bindable


@dataclass(frozen=True)
class Difference:
    """One key with its two values; None where the part is not used, or nothing is bound and there is no default."""

    key: str
    left: str | None
    right: str | None
    is_default: bool = False  # one side alone uses the part, and has the part's own default

    @property
    def is_place(self) -> bool:
        """Whether it is only where a file lies."""
        selector, _, argument = self.key.rpartition("/")[2].rpartition(".")
        return is_place(selector, argument)


def diff(left: Config, right: Config) -> list[Difference]:
    """Every key whose value differs, by key: macros replaced, wider scopes and the parts' own defaults followed.

    A part that only one side uses is a difference where it was bound to something else than its default, and where its
    default is not what the part in whose place it stands has: a learning rate counts, whether it is bound or not.
    """
    bindings = {binding.key: binding for config in (right, left) for binding in config.bindings.values()}
    differences = []
    for key, binding in bindings.items():
        if binding.selector and _uses(left, binding) + _uses(right, binding) > 0:
            pair = _value(left, binding), _value(right, binding)
            default = _default(binding.selector, binding.argument)
            if pair[0] != pair[1] and set(pair) != {None, default}:
                differences.append(Difference(key, *pair))
    for key, default in _telling_defaults(left, right):
        differences.append(Difference(key, default, None, is_default=True))
    for key, default in _telling_defaults(right, left):
        differences.append(Difference(key, None, default, is_default=True))
    return sorted(differences, key=lambda difference: difference.key)


def _telling_defaults(here: Config, there: Config) -> Iterator[tuple[str, str]]:
    """(key, value) of what has its default on a part that `here` alone uses, and another value on a part of that kind
    that `there` alone uses."""
    alone, others = here.reach.selectors - there.reach.selectors, there.reach.selectors - here.reach.selectors
    for selector in alone:
        kind = selector.rpartition(".")[0]
        for argument in parameters(bindable()[selector]):
            own = _in_effect(here, selector, argument)
            if own is None or own != _default(selector, argument):
                continue
            rivals = [other for other in others if other.rpartition(".")[0] == kind]
            rivals = [other for other in rivals if argument in parameters(bindable()[other])]
            if any(_in_effect(there, other, argument) != own for other in rivals):
                yield f"{selector}.{argument}", own


def _in_effect(config: Config, selector: str, argument: str) -> str | None:
    """The value outside all scopes."""
    bound = supplier(config.bindings, "", selector, argument)
    return _default(selector, argument) if bound is None else format_value(config.expanded(bound))


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

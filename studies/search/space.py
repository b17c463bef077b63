"""What a search varies: any gin key, with its distribution and, for keys of one alternative, when they apply."""

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, distribution_to_json

from rnnlab.config import Config, format_value
from rnnlab.errors import ConfigError
from rnnlab.registry import bindable, did_you_mean
from rnnlab.training import experiment

Distribution: TypeAlias = IntDistribution | FloatDistribution | CategoricalDistribution
Params: TypeAlias = Mapping[str, Any]

KINDS: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "int": (IntDistribution, ("low", "high", "log", "step")),
    "float": (FloatDistribution, ("low", "high", "log", "step")),
    "categorical": (CategoricalDistribution, ("choices",)),
}


@dataclass(frozen=True)
class Entry:
    """One key of a space.

    Attributes:
        key: what is bound, `SingleHead.memory`, or a macro, `dropout`.
        distribution: the values it takes.
        when: {key of the same space: the values of it under which this one applies}; empty for always.
    """

    key: str
    distribution: Distribution
    when: Mapping[str, tuple[Any, ...]]

    @property
    def is_categorical(self) -> bool:
        return isinstance(self.distribution, CategoricalDistribution)

    @property
    def is_int(self) -> bool:
        return isinstance(self.distribution, IntDistribution)

    def applies(self, params: Params) -> bool:
        return all(other in params and params[other] in values for other, values in self.when.items())

    def ends(self) -> list[Any]:
        """The values to try before a search: both ends of a range, every choice."""
        d = self.distribution
        return list(d.choices) if isinstance(d, CategoricalDistribution) else list(dict.fromkeys((d.low, d.high)))

    def holds(self, value: Any) -> bool:
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return any(value == choice and type(value) is type(choice) for choice in d.choices)
        if isinstance(value, bool) or not isinstance(value, int if isinstance(d, IntDistribution) else int | float):
            return False
        steps = (value - d.low) / (d.step or 1)
        return d.low <= value <= d.high and (d.step is None or abs(steps - round(steps)) < 1e-8)

    def suggest(self, trial: optuna.Trial) -> Any:
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return trial.suggest_categorical(self.key, d.choices)
        if isinstance(d, IntDistribution):
            return trial.suggest_int(self.key, d.low, d.high, step=d.step, log=d.log)
        return trial.suggest_float(self.key, d.low, d.high, step=d.step, log=d.log)

    def describe(self) -> str:
        """One line that is equal where the entries are."""
        fields = json.loads(distribution_to_json(self.distribution))
        conditions = {key: list(values) for key, values in self.when.items()}
        return json.dumps({"type": fields["name"].removesuffix("Distribution").lower(), **fields["attributes"]}) + (
            f" when {json.dumps(conditions)}" if conditions else ""
        )


class Space:
    """The keys of a search, those that others depend on before them."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = list(entries)

    @classmethod
    def read(cls, space: Mapping[str, Any]) -> "Space":
        """The space that `Search.space` says.

        Args:
            space: {key: {"type": "int", "low": 256, "high": 5000, "log": True}}; with "choices" for a categorical one;
                with "when": {other key: value, or list of values} for a key that applies under a condition.
        Raises: ConfigError naming the key and what is wrong with it.
        """
        if not space:
            raise ConfigError("Search.space = {}: name what to vary, {'dropout': {'type': 'float', 'low': 0.0, ...}}")
        return cls(_ordered({key: _read_entry(key, fields, space) for key, fields in space.items()}))

    @property
    def conditional(self) -> bool:
        return any(entry.when for entry in self.entries)

    @cached_property
    def description(self) -> dict[str, str]:
        """{key: all that decides its values}; what a resumed study is compared by."""
        return {entry.key: entry.describe() for entry in self.entries}

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """Ask the trial for a value of every key that applies."""
        params: dict[str, Any] = {}
        for entry in self.entries:
            if entry.applies(params):
                params[entry.key] = entry.suggest(trial)
        return params

    def bindings(self, params: Params) -> list[str]:
        """The gin bindings that parameters stand for."""
        return [f"{entry.key} = {literal(params[entry.key])}" for entry in self.entries if entry.key in params]

    def baseline(self, base: Config) -> tuple[dict[str, Any], list[str]]:
        """(the base's own values of the keys that apply, a line on each value that the space does not hold)."""
        params: dict[str, Any] = {}
        outside: list[str] = []
        for entry in self.entries:
            if not entry.applies(params):
                continue
            value = self._base_value(entry, base)
            if value is None and not entry.holds(value):
                outside.append(f"{entry.key} is not bound")
            elif not entry.holds(value):
                outside.append(f"{entry.key} = {literal(value)}")
            else:
                params[entry.key] = value
        return params, outside

    def _base_value(self, entry: Entry, base: Config) -> Any:
        value = _value(base, entry.key)
        if isinstance(entry.distribution, CategoricalDistribution):
            for choice in entry.distribution.choices:  # `@core.LSTM` may be written `@LSTM`
                if _value(base.vary([], [f"{entry.key} = {literal(choice)}"]), entry.key) == value:
                    return choice
        return value if isinstance(value, None | bool | int | float | str) else format_value(value)

    def check(self, base: Config) -> None:
        """Build the base with every end of every key: a key that binds nothing, or a value that nothing can be built
        from, is refused before the first trial.

        Raises: ConfigError naming the key and the value.
        """
        start: dict[str, Any] = {}
        for entry in self.entries:
            with _placed(f"{entry.key} = {literal(entry.ends()[0])}"):
                value = self._base_value(entry, base)
            start[entry.key] = value if entry.holds(value) else entry.ends()[0]
        for params in self._corners(start):
            with _placed(", ".join(self.bindings(params))):
                experiment.build(base.vary([], self.bindings(params)), shapes_only=True, needs_corpus=False)

    def _corners(self, start: Params) -> Iterator[dict[str, Any]]:
        by_key = {entry.key: entry for entry in self.entries}

        def force(params: dict[str, Any], key: str, value: Any) -> None:
            params[key] = value
            for other, values in by_key[key].when.items():
                force(params, other, params[other] if params[other] in values else values[0])

        for entry in self.entries:
            for value in entry.ends():
                corner = dict(start)
                force(corner, entry.key, value)
                yield self._applicable(corner)

    def _applicable(self, params: Params) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for entry in self.entries:
            if entry.applies(kept):
                kept[entry.key] = params[entry.key]
        return kept


@contextmanager
def _placed(bindings: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"Search.space, at {bindings}: {error}") from error


def literal(value: Any) -> str:
    """How a value stands in a gin file; a string that begins with @ or % is a reference or a macro."""
    if isinstance(value, str) and value[:1] in ("@", "%"):
        return value
    return format_value(value)


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Lines on the keys in which two descriptions of a space differ."""
    keys = sorted({*before, *now})
    return [f"{key}: {before.get(key, '-')} -> {now.get(key, '-')}" for key in keys if before.get(key) != now.get(key)]


def _read_entry(key: str, fields: Any, space: Mapping[str, Any]) -> Entry:
    place = f"Search.space[{key!r}]"
    if not isinstance(fields, Mapping) or fields.get("type") not in KINDS:
        raise ConfigError(f"{place} = {fields!r}: a dict with 'type': {' or '.join(map(repr, KINDS))} is expected")
    make, known = KINDS[fields["type"]]
    for name in fields:
        if name not in ("type", "when", *known):
            nearest = did_you_mean(name, known) or f"; it takes {', '.join(known)}"
            raise ConfigError(f"{place}: a {fields['type']} has no {name!r}{nearest}")
    try:
        given = {name: fields[name] for name in known if name in fields}
        distribution: Distribution = make(**given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{place} = {fields!r}: {str(error).splitlines()[0]}") from error
    return Entry(key, distribution, _read_conditions(place, fields.get("when", {}), space))


def _read_conditions(place: str, when: Any, space: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    if not isinstance(when, Mapping):
        raise ConfigError(f"{place}: 'when' = {when!r}: a dict is expected, {{'Block.core': '@core.QRNN'}}")
    conditions = {}
    for other, values in when.items():
        if other not in space:
            raise ConfigError(f"{place}: 'when' names {other!r}, which is not in the space{did_you_mean(other, space)}")
        conditions[other] = tuple(values) if isinstance(values, list | tuple) else (values,)
        choices = space[other].get("choices", ()) if isinstance(space[other], Mapping) else ()
        for value in conditions[other]:
            if value not in choices:
                raise ConfigError(f"{place}: 'when' wants {other} = {value!r}, which is none of its choices")
    return conditions


def _ordered(entries: Mapping[str, Entry]) -> list[Entry]:
    """Each entry after those that its conditions name; else as they were."""
    ordered: dict[str, Entry] = {}

    def place(key: str, chain: tuple[str, ...]) -> None:
        if key in chain:
            raise ConfigError(f"Search.space: keys that wait for each other: {' -> '.join((*chain, key))}")
        for other in entries[key].when:
            place(other, (*chain, key))
        ordered[key] = entries[key]

    for key in entries:
        place(key, ())
    return list(ordered.values())


def _value(config: Config, key: str) -> Any:
    """What the configuration gives a key: bound in its scope, in a wider one, or the default of the part."""
    scope, _, name = key.rpartition("/")
    while True:
        if config.get(f"{scope}/{name}" if scope else name) is not None:
            return config.value(f"{scope}/{name}" if scope else name)
        if not scope:
            break
        scope = scope.rpartition("/")[0]
    selector, _, argument = name.rpartition(".")
    for known, factory in bindable().items():
        if selector in (known, known.rpartition(".")[2]):
            parameter = inspect.signature(factory).parameters.get(argument)
            return None if parameter is None or parameter.default is parameter.empty else parameter.default
    return None

"""What a search varies: any gin key, with its distribution and, for keys of one alternative, when they apply."""

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, distribution_to_json
from optuna.trial import BaseTrial, FixedTrial

from rnnlab.config import Config, format_value
from rnnlab.config.bindings import prefixes
from rnnlab.config.checks import full_selector
from rnnlab.config.values import scoped
from rnnlab.errors import ConfigError
from rnnlab.registry import bindable, did_you_mean
from rnnlab.studies.budget import refuse_another_comparison
from rnnlab.studies.definition import config_errors
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

    def plain(self, value: Any) -> Any:
        """A value that it holds, of the type that it draws: 0 of a float is 0.0."""
        return float(value) if isinstance(self.distribution, FloatDistribution) else value

    def suggest(self, trial: BaseTrial) -> Any:
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return trial.suggest_categorical(self.key, d.choices)
        if isinstance(d, IntDistribution):
            return trial.suggest_int(self.key, d.low, d.high, step=d.step, log=d.log)
        return trial.suggest_float(self.key, d.low, d.high, step=d.step, log=d.log)

    def describe(self) -> str:
        """One line that is equal where the entries are."""
        fields = json.loads(distribution_to_json(self.distribution))
        kind = fields["name"].removesuffix("Distribution").lower()
        text = json.dumps({"type": kind, **fields["attributes"]})
        return f"{text} when {json.dumps(self.when)}" if self.when else text


@dataclass(frozen=True)
class Space:
    """The keys of a search, those that others depend on before them."""

    entries: Sequence[Entry]

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

    @property
    def description(self) -> dict[str, str]:
        """{key: all that decides its values}; what a resumed study is compared by."""
        return {entry.key: entry.describe() for entry in self.entries}

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
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
            if entry.holds(value):
                params[entry.key] = value
            else:
                outside.append(f"{entry.key} is not bound" if value is None else f"{entry.key} = {literal(value)}")
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
        from, is refused before the first trial; so is a key by which trials would be compared at unequal budgets.

        Raises: ConfigError naming the key and the value.
        """
        start: dict[str, Any] = {}
        for entry in self.entries:
            with config_errors(f"Search.space, at {entry.key} = {literal(entry.ends()[0])}"):
                value = self._base_value(entry, base)
            start[entry.key] = value if entry.holds(value) else entry.ends()[0]
        for params in self._corners(start):
            with config_errors(f"Search.space, at {', '.join(self.bindings(params))}"):
                varied = base.vary([], self.bindings(params))
                refuse_another_comparison(base, varied)
                experiment.build(varied, shapes_only=True, needs_source=False)

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
                yield self.suggest(FixedTrial(corner))


def literal(value: Any) -> str:
    """How a value stands in a gin file; a string that begins with @ or % is a reference or a macro."""
    return value if isinstance(value, str) and value[:1] in ("@", "%") else format_value(value)


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
        distribution: Distribution = make(**{name: fields[name] for name in known if name in fields})
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
    for prefix in prefixes(scope):
        if config.get(scoped(prefix, name)) is not None:
            return config.value(scoped(prefix, name))
    selector, _, argument = name.rpartition(".")
    parameter = inspect.signature(bindable()[full_selector(selector)]).parameters.get(argument) if selector else None
    return None if parameter is None or parameter.default is parameter.empty else parameter.default

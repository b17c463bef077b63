"""A configuration: fragments and overrides, resolved to one binding a key."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rnnlab.config.activation import Operative, activated, construct
from rnnlab.config.bindings import Binding, Precedence, Reach, macro_chain, prefixes, reach
from rnnlab.config.checks import check_expanded, full_selector, is_place, parameters
from rnnlab.config.sources import GinSource, read_fragment, read_override
from rnnlab.config.values import Macro, Value, expand, references, scoped
from rnnlab.console import say
from rnnlab.errors import ConfigError
from rnnlab.registry import bindable, did_you_mean

BUDGETS = ("Trainer.bytes", "Trainer.steps", "Trainer.epochs")
"""A run ends at the first of them that it reaches."""
LEARNED_FROM = "Trainer.source"
ATTENTION = "attention"  # the macro of a root's attention, which the fragments of place/ bring into the blocks
TASK = "task"  # the folder of fragments that are a source and the recipe for it


class Config:
    """What fragments and overrides come to. Immutable but for the memory of what it last built."""

    def __init__(self, bindings: Mapping[str, Binding], sources: Sequence[GinSource]) -> None:
        # sorted by key; of a whole model, those that nothing can reach are left out
        self.bindings: Mapping[str, Binding] = dict(sorted(bindings.items()))
        self._sources = sources
        self._operative: Operative | None = None

    @cached_property
    def text(self) -> str:
        """One `key = value` a line, sorted, selectors in full: resolving it again gives the same bindings."""
        return "".join(f"{binding.key} = {binding.text}\n" for binding in self.bindings.values())

    @property
    def sha(self) -> str:
        """Of what it is, wherever its files lie."""
        return hashlib.sha256(identity(self.text).encode()).hexdigest()

    @cached_property
    def reach(self) -> Reach:
        """The parts, scopes and macros that the references lead to."""
        return reach(self.bindings)

    def get(self, key: str) -> Binding | None:
        """The binding of `Trainer.bytes`, `sha/SingleHead.memory` or a macro's name; None if it is not bound.

        Raises: ConfigError if there is no such part or class.
        """
        scope, _, name = key.rpartition("/")
        selector, _, argument = name.rpartition(".")
        full = f"{full_selector(selector)}.{argument}" if selector else argument
        return self.bindings.get(scoped(scope, full))

    def value(self, key: str, default: Any = None) -> Value:
        """What is bound to the key, macros replaced, or the default."""
        binding = self.get(key)
        return default if binding is None else self.expanded(binding)

    def expanded(self, binding: Binding) -> Value:
        """The value of a binding with its macros replaced."""
        return expand(binding.value, self._definitions)

    @cached_property
    def _definitions(self) -> dict[str, Value]:
        return {key: binding.value for key, binding in self.bindings.items() if not binding.selector}

    def override(self, overrides: str | Sequence[str]) -> "Config":
        """The same sources with further bindings on top, as behind --set. Raises: ConfigError as `resolve`."""
        return _resolve([*self._sources, *map(read_override, _several(overrides))])

    def vary(self, fragments: str | Sequence[str], overrides: str | Sequence[str]) -> "Config":
        """A variant: the same sources with further fragments and bindings. What they leave of the first without effect
        is no mistake; `attention/none` after `memory/512` says all it means.

        Raises: ConfigError as `resolve`.
        """
        own = [
            replace(source, bindings=tuple(replace(binding, is_default=True) for binding in source.bindings))
            for source in self._sources
        ]
        varied = [*map(read_fragment, _several(fragments)), *map(read_override, _several(overrides))]
        return _resolve([*own, *varied])

    @contextmanager
    def activate(self) -> Iterator[None]:
        """Bind everything while the block runs; `construct` builds in it.

        One configuration is active in a process: other threads wait. Afterwards gin is what it was before. What parts
        raise about their arguments comes out as a ConfigError that says where the argument was bound.
        """
        with activated(self.bindings, self.expanded) as operative:
            self._operative = operative
            yield

    def construct(self, selector: str, *args: Any, **kwargs: Any) -> Any:
        """Within `activate`: call a class or part; explicit arguments win. Raises: ConfigError if there is none."""
        assert self._operative is not None, "inside `with config.activate():` only"
        return construct(full_selector(selector), *args, **kwargs)

    def suppliers(self, selector: str, argument: str) -> dict[str, Value]:
        """After building: {gin key: value} of what gave a part its argument, in every scope in which it was built.

        The key is a macro's own where there is one, and that without a scope where the default gave it. Macros are
        replaced in the value. Empty if what builds the part gives it the argument.
        """
        default = parameters(bindable()[selector])[argument].default
        found: dict[str, Value] = {}
        for binding in self._built().suppliers(self.bindings, selector, argument):
            if binding is None:
                found[f"{selector}.{argument}"] = default
            else:
                macros = macro_chain(binding.macros if isinstance(binding.value, Macro) else (), self.bindings)
                found[macros[-1] if macros else binding.key] = self.expanded(binding)
        return found

    def audit(self) -> None:
        """After building: check that whatever was asked for took effect.

        Raises: ConfigError naming each binding and macro that did not, and why; those of roots, sizes and recipes may.
        """
        operative = self._built()
        effective = operative.effective(self.bindings)
        used_macros = macro_chain([name for key in effective for name in self.bindings[key].macros], self.bindings)
        idle = [
            f"{binding} has no effect: {operative.why_idle(binding)}"
            for key, binding in self.bindings.items()
            if not binding.may_be_idle and key not in (effective if binding.selector else used_macros)
        ]
        if idle:
            raise ConfigError("\n".join(idle[:5] + [f"... and {len(idle) - 5} more"] * (len(idle) > 5)))

    @property
    def operative_text(self) -> str:
        """What was built, to read: the arguments that a binding or a default supplied, by part, with their origin."""
        return self._built().text(self.bindings, self.expanded)

    def _built(self) -> Operative:
        assert self._operative is not None, "build inside `with config.activate():` first"
        return self._operative


def identity(text: str) -> str:
    """What a configuration is, wherever its files lie: `Config.text` without the lines that bind places."""
    lines = {line.partition(" = ")[0]: line for line in text.splitlines(keepends=True)}
    places = {key for key in lines if is_place(*key.rpartition("/")[2].rpartition(".")[::2])}
    macros = {name for key in places for name in re.findall(r" = %(\w+)", lines[key])}
    return "".join(line for key, line in lines.items() if key not in places | macros)


def resolve(
    fragments: str | Sequence[str],
    overrides: str | Sequence[str] = (),
    included: Mapping[str, Path] = MappingProxyType({}),
) -> Config:
    """Read, order and check fragments and overrides.

    Args:
        fragments: names below the config folder, or files.
        overrides: single bindings, as behind --set; the later wins. One of either may be a string by itself.
        included: further folders that the files may include, by what the names of their files begin with.
    Raises: ConfigError in one line: place, what is wrong, the nearest name.
    """
    read = [read_fragment(name, included=included) for name in _several(fragments)]
    sources = [*read, *map(read_override, _several(overrides))]
    _say_what_replaces_a_users_root(sources)
    return _resolve(sources)


def _several(given: str | Sequence[str]) -> Sequence[str]:
    return [given] if isinstance(given, str) else given


def _say_what_replaces_a_users_root(sources: Sequence[GinSource]) -> None:
    """A size and a recipe are above every root: above those that ship by design, above one's own by surprise."""
    above = [s for s in sources if s.precedence in (Precedence.SIZE, Precedence.TRAIN)]
    final = {b.key: b for s in sorted(above, key=lambda source: source.precedence) for b in s.bindings}
    for root in (source for source in sources if source.name and source.precedence is Precedence.ROOT):
        own = {binding.key: binding for binding in root.bindings}
        replaced = [key for key, binding in own.items() if key in final and final[key].text != binding.text]
        if replaced:
            shown = [f"{key} = {final[key].text} ({final[key].location}) for {own[key].text}" for key in replaced[:6]]
            more = f" and {len(replaced) - 6} more" if len(replaced) > 6 else ""
            say(f"{root.name}: sizes and recipes win over a root: {', '.join(shown)}{more}; --set wins over all")


def load(path: Path | str) -> Config:
    """The configuration of a run, from a file that holds `Config.text`.

    It was audited when it was made: what it binds may be idle now. What overrides it may not.
    Raises: ConfigError as `resolve`.
    """
    return _resolve([read_fragment(str(path), Precedence.ROOT)])


def _resolve(sources: Sequence[GinSource]) -> Config:
    sources = sorted(sources, key=lambda source: source.precedence)  # stable: within a precedence the later wins
    _refuse_conflicts(sources)
    written = [binding for source in sources for binding in source.bindings]
    final = _with_one_budget({binding.key: binding for binding in written})
    if not any(source.precedence is Precedence.ROOT for source in sources):
        return Config(final, sources)  # fragments without their model: what they refer to may be defined there
    definitions = {key: binding for key, binding in final.items() if not binding.selector}
    for binding in final.values():
        check_expanded(binding, definitions)
    reached = reach(final)
    mentioned = _mentioned(written)
    for binding in written:
        if final.get(binding.key) is binding and binding.key not in reached.keys:
            # A root, size or recipe may be idle; it must still fit something, if only what another binding replaced.
            known = mentioned if binding.may_be_idle else reached
            _refuse_unreached(binding, known)
    return Config(_anchored({key: binding for key, binding in final.items() if key in reached.keys}), sources)


def with_later(earlier: Sequence[str], later: Sequence[str]) -> list[str]:
    """Overrides of several times: of budgets those of the last time alone that named any."""
    of_budgets = re.compile(rf"\s*({'|'.join(map(re.escape, BUDGETS))})\s*=")
    kept = [line for line in earlier if not (of_budgets.match(line) and any(map(of_budgets.match, later)))]
    return [*kept, *later]


def _with_one_budget(bindings: dict[str, Binding]) -> dict[str, Binding]:
    """A budget on the command line takes the place of those in files, which would end the run before it."""
    said = [key for key in BUDGETS if key in bindings and bindings[key].precedence is Precedence.OVERRIDE]
    return {key: b for key, b in bindings.items() if not said or key not in BUDGETS or key in said}


def _anchored(bindings: dict[str, Binding]) -> dict[str, Binding]:
    """The same with absolute paths wherever an argument is a place: a run may go on from another folder."""
    places = [binding for binding in bindings.values() if is_place(binding.selector, binding.argument)]
    found = [key for place in places for key in (place.key, *macro_chain(place.macros, bindings))]
    return {**bindings, **{key: bindings[key].anchored() for key in found}}


def _mentioned(written: Sequence[Binding]) -> Reach:
    """What the bindings refer to, those included that others replace; any part may be bound, and a kind of attention
    may wait for the fragment that says which layers attend."""
    scopes = {reference.scope for binding in written for reference in references(binding.value)}
    return Reach(
        selectors=frozenset(bindable()),
        scopes=frozenset(prefix for scope in {"", *scopes} for prefix in prefixes(scope)),
        macros=frozenset({ATTENTION, *(name for binding in written for name in binding.macros)}),
        keys=frozenset(),
    )


def _refuse_conflicts(sources: Sequence[GinSource]) -> None:
    """Fragments from different folders commute, so they may not disagree on what nothing above them decides. Of a task,
    whose fragment is a recipe as well, this is what is learned from."""
    decided = {binding.key for source in sources if source.precedence > Precedence.PART for binding in source.bindings}
    set_by: dict[str, tuple[str, Binding]] = {}
    for source in (source for source in sources if source.precedence is Precedence.PART or source.folder == TASK):
        at_par = source.precedence is Precedence.PART
        last = {b.key: b for b in source.bindings if b.key not in decided and (at_par or b.key == LEARNED_FROM)}
        for key, binding in last.items():
            folder, other = set_by.setdefault(key, (source.folder, binding))
            if folder != source.folder and other.text != binding.text:
                raise ConfigError(
                    f"{binding}: but `{other.text}` at {other.location}; fragments of two folders cannot both set it, "
                    f"drop one or say which with --set '{key} = ...'"
                )
            set_by[key] = source.folder, binding


def _argument_called(name: str, known: Reach) -> str:
    """A hint for who wrote `lr = 1e-3` and meant the argument of a part."""
    owners = sorted(
        f"{selector.rpartition('.')[2]}.{name}"
        for selector, factory in bindable().items()
        if selector in known.selectors and name in parameters(factory)
    )
    return f"; did you mean {' or '.join(map(repr, owners))}?" if owners else ""


def _refuse_unreached(binding: Binding, known: Reach) -> None:
    """Raise ConfigError for a binding of a macro, scope or part that is not among the known ones."""
    if not binding.selector:
        if binding.key not in known.macros:
            nearest = "; place/last or place/every says which blocks attend" if binding.key == ATTENTION else ""
            nearest = nearest or _argument_called(binding.key, known) or did_you_mean(binding.key, known.macros)
            raise ConfigError(f"{binding}: no binding in use refers to %{binding.key}{nearest}")
    elif binding.scope not in known.scopes:
        nearest = did_you_mean(binding.scope, known.scopes - {""})
        raise ConfigError(f"{binding}: nothing is built in the scope {binding.scope!r}{nearest}")
    elif binding.selector not in known.selectors:
        raise ConfigError(
            f"{binding} has no effect: nothing refers to @{binding.selector}; bind it into a slot or drop this line"
        )

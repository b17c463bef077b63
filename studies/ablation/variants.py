"""The variants of an ablation by its design, each built, and proven to differ in what its deltas say."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rnnlab.config import Config, diff
from rnnlab.errors import ConfigError
from rnnlab.studies import definition
from rnnlab.studies.ablation import levels
from rnnlab.studies.ablation.cells import PlannedVariant
from rnnlab.studies.ablation.matching import costs
from rnnlab.studies.ablation.proof import Delta, prove, shown
from rnnlab.studies.ablation.study import Ablation
from rnnlab.studies.budget import refuse_unequal_steps, resolve_base
from rnnlab.views.naming import in_a_row


def make_variants(ablation: Ablation) -> list[PlannedVariant]:
    """The baseline and its variants, each built and proven. Raises: ConfigError naming the variant."""
    base = resolve_base(ablation)
    build("the base", base)
    baseline = _vary(base, ablation.all_deltas() if ablation.design == "leave_one_out" else [])
    build(ablation.baseline, baseline)
    factors = ablation.levels_by_factor() if ablation.design == "grid" else {}
    variants = [PlannedVariant(ablation.baseline, baseline, levels=levels.chosen(factors, ()))]
    for name, changed, deltas in wanted(ablation):
        resolved = _vary(base, deltas)
        _refuse_idle_items(base, resolved, deltas)
        differences = prove(changed, baseline, resolved)
        build(name, resolved)
        refuse_unequal_steps(name, baseline, resolved)
        own = levels.chosen(factors, [delta.name for delta in deltas])
        variants.append(PlannedVariant(name, resolved, shown(differences), levels=own))
    refuse_twins(variants)
    return variants


def wanted(ablation: Ablation) -> list[tuple[str, Delta, list[Delta]]]:
    """The variants of its design that are wanted. Raises: ConfigError for one that the design does not make."""
    every = list(design(ablation))
    names = [name for name, _, _ in every]
    if ablation.only is None:
        return every
    only = [ablation.only] if isinstance(ablation.only, str) else list(ablation.only)
    if unknown := [name for name in only or [""] if name not in names]:
        raise ConfigError(f"Ablation.only: no variant is called {unknown[0]!r}; there are {in_a_row(names)}")
    return [variant for variant in every if variant[0] in only]


def design(ablation: Ablation) -> Iterator[tuple[str, Delta, list[Delta]]]:
    """(name, what it changes against the baseline, the deltas that it is made of) of every variant but the baseline."""
    factors = ablation.factors()
    if ablation.design == "one_at_a_time":
        for delta in ablation.all_deltas():
            yield delta.name, delta, [delta]
    elif ablation.design == "leave_one_out":
        if several := [factor for factor in factors if len(factor) > 1]:
            names = ", ".join(delta.name for delta in several[0])
            raise ConfigError(f"Ablation.design = 'leave_one_out': {names} exclude each other; keep one of them")
        for delta in ablation.all_deltas():
            yield f"without {delta.name}", delta, [other for other in ablation.all_deltas() if other != delta]
    else:
        levels_of = ablation.levels_by_factor()
        all_named = set(ablation.levels or {}) == set(levels_of)
        for combination in itertools.product(*([None, *factor] for factor in factors)):
            chosen = [level for level in combination if level is not None]
            if chosen:
                own = [delta.name for delta in chosen]
                name = ", ".join(levels.chosen(levels_of, own)) if all_named else " + ".join(own)
                yield name, Delta(name, tuple(item for delta in chosen for item in delta.items)), chosen


def _vary(base: Config, deltas: Sequence[Delta]) -> Config:
    if not deltas:
        return base
    fragments = [name for delta in deltas for name in delta.fragments]
    with definition.config_errors(f"variant {' + '.join(delta.name for delta in deltas)!r}"):
        return base.vary(fragments, [binding for delta in deltas for binding in delta.bindings])


def build(name: str, resolved: Config) -> None:
    """Build a variant without its numbers. Raises: ConfigError naming it."""
    with definition.config_errors(f"variant {name!r}"):
        costs(resolved)


def _refuse_idle_items(base: Config, whole: Config, deltas: Sequence[Delta]) -> None:
    """Of a delta of several items each must change something, by itself or in what the others make."""
    for delta in deltas:
        for item in delta.items if len(delta.items) > 1 else ():
            rest = replace(delta, items=tuple(other for other in delta.items if other != item))
            try:
                without = _vary(base, [rest if other is delta else other for other in deltas])
                alone = _vary(base, [replace(delta, items=(item,))])
            except ConfigError:
                continue  # they cannot stand without each other
            if not diff(whole, without) and not diff(base, alone):
                raise ConfigError(f"delta {delta} says {item!r}, which changes nothing; take it out")


def refuse_twins(variants: Sequence[PlannedVariant]) -> None:
    """Raises: ConfigError for two variants of one configuration, or of one folder."""
    for keys, trouble in (
        ([variant.config.text for variant in variants], "are one configuration; drop one of them"),
        ([variant.slug.lower() for variant in variants], "would share a folder; rename one of them"),
    ):
        first: dict[str, str] = {}
        for key, variant in zip(keys, variants, strict=True):
            twin = first.setdefault(key, variant.name)
            if twin != variant.name:
                raise ConfigError(f"variants {twin!r} and {variant.name!r} {trouble}")

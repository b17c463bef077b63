"""`rnnlab ablate`: a baseline and its variants, planned, built and proven before anything runs."""

import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from rnnlab.config import Config, diff, identity
from rnnlab.errors import ConfigError
from rnnlab.registry import configurable
from rnnlab.storage.cells import Key
from rnnlab.studies import definition
from rnnlab.studies.ablation.matching import FACTS, Cost, costs, solve_width
from rnnlab.studies.ablation.proof import Delta, prove, shown
from rnnlab.studies.budget import refuse_two_budgets, refuse_unequal_steps, resolve_base
from rnnlab.studies.metric import choose
from rnnlab.studies.names import check_names
from rnnlab.training import experiment
from rnnlab.views.metrics import Metric

CELLS = "cells"
SOURCE = ("Trainer.source", "corpus.", "task.", "TaskSplits.")  # what begins a line that says what is trained on
MOST_CELLS = 100_000

Deltas = Mapping[str, Any]


@configurable
@dataclass(frozen=True)
class Ablation:
    """A baseline, and variants that differ from it in what their deltas say.

    Args:
        base: fragments that every variant starts from.
        deltas: {name: [fragments and bindings]}, or for a factor of several levels {factor: {name: [...]}}.
        overrides: bindings on top of the base.
        bytes: budget of a run, on a task of positions.
        steps: budget of a run on a task in place of bytes; without either the task's fragment gives one.
        design: the baseline and each delta alone; all deltas, and all but each; or every combination.
        seeds: how many each variant is trained with, counted up from Trainer.seed.
        match: a cost in which the variants are to match the baseline within 1%; both tables are made.
        widths: {name: gin key} of the width that is solved for; LanguageModel.dim where none is named.
        metric: what is compared: valid_bpc, best_valid_bpc or test_bpc of text; the same with _accuracy and _nats of a
            task, or one difficulty of its test, test_accuracy@256. None for valid_bpc, of a task valid_accuracy.
        baseline: what the baseline is called in the tables.
    Raises: ConfigError for an empty delta, a name that is taken, less than one seed, too many runs, or two budgets.
    """

    base: Sequence[str]
    deltas: Deltas
    overrides: Sequence[str] = ()
    bytes: int | None = None
    steps: int | None = None
    design: Literal["one_at_a_time", "leave_one_out", "grid"] = "one_at_a_time"
    seeds: int = 5
    match: Cost | None = None
    widths: Mapping[str, str] | None = None
    metric: str | None = None
    baseline: str = "baseline"

    def __post_init__(self) -> None:
        refuse_two_budgets(self)
        if self.seeds < 1:
            raise ConfigError(f"Ablation.seeds = {self.seeds}: at least 1")
        names = [delta.name for delta in self.all_deltas()]
        if not names:
            raise ConfigError("Ablation.deltas = {}: name what to vary, {'qrnn': ['core/qrnn']}")
        if twice := [name for name in [*names, self.baseline] if [*names, self.baseline].count(name) > 1]:
            raise ConfigError(f"Ablation: two variants are called {twice[0]!r}; rename one of them")
        variants = 1 + len(names)
        if self.design == "grid":
            variants = math.prod(1 + len(factor) for factor in self.factors())
        if variants * self.seeds > MOST_CELLS:
            raise ConfigError(
                f"Ablation.seeds = {self.seeds}: {variants:,} variants make {variants * self.seeds:,} runs, more than "
                f"{MOST_CELLS:,}; take fewer seeds or deltas"
            )
        if unknown := [name for name in self.widths or {} if name not in names]:
            raise ConfigError(f"Ablation.widths names {unknown[0]!r}, which is no delta; there are {', '.join(names)}")

    def factors(self) -> list[list[Delta]]:
        """Deltas that exclude each other, by factor; a delta by itself is a factor of one."""
        by_level = [items if isinstance(items, Mapping) else {name: items} for name, items in self.deltas.items()]
        return [[_delta(level, items) for level, items in levels.items()] for levels in by_level]

    def all_deltas(self) -> list[Delta]:
        return [delta for factor in self.factors() for delta in factor]


def _delta(name: str, items: Any) -> Delta:
    if not isinstance(items, list | tuple) or not items or not all(isinstance(item, str) for item in items):
        raise ConfigError(f"Ablation.deltas[{name!r}] = {items!r}: a list of fragments and bindings is expected")
    return Delta(name, tuple(items))


@dataclass(frozen=True)
class PlannedVariant:
    """One row of the table.

    Attributes:
        bindings: what differs from the baseline, for the table; empty for the baseline.
        match_error: relative difference to the baseline's cost, of a variant that was matched.
        corpus_sha: of the text that it trains on.
    """

    name: str
    config: Config
    bindings: tuple[str, ...] = ()
    match_error: float = 0.0
    corpus_sha: str = ""

    @property
    def slug(self) -> str:
        """Its name as that of a folder."""
        plain = re.sub(r"[^A-Za-z0-9.]+", "-", self.name).strip("-.")
        return plain or hashlib.sha256(self.name.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class AblationPlan:
    """An ablation whose every variant was built and proven.

    Attributes:
        variants: the baseline first.
        matched: the same at equal costs, the baseline first; empty if the study does not ask for it.
        metric: what is compared.
    """

    ablation: Ablation
    folder: Path
    variants: Sequence[PlannedVariant]
    matched: Sequence[PlannedVariant]
    metric: Metric

    @property
    def seeds(self) -> list[int]:
        first = int(self.variants[0].config.value("Trainer.seed", 1))
        return [first + i for i in range(self.ablation.seeds)]

    def cells(self) -> "list[Cell]":
        """Each once, all variants with the first seed before any with the second: a table needs pairs."""
        every = {variant.config.text: variant for variant in [*self.matched, *self.variants]}
        return [Cell(self.folder, variant, seed) for seed in self.seeds for variant in every.values()]


@dataclass(frozen=True)
class Cell:
    """A variant with a seed; its folder is named after the hashes of its configuration, seed included, and of its text,
    wherever that lies."""

    study: Path
    variant: PlannedVariant
    seed: int

    @property
    def key(self) -> Key:
        """The same wherever the study lies."""
        return _sha(self.variant.config, self.seed), self.seed, self.variant.corpus_sha

    @property
    def folder(self) -> Path:
        own = f"{_sha(self.variant.config, self.seed)} {self.variant.corpus_sha}"
        name = f"seed-{self.seed}-{hashlib.sha256(own.encode()).hexdigest()[:8]}"
        return self.study / CELLS / self.variant.slug / name

    @property
    def config_file(self) -> Path:
        return self.study / CELLS / self.variant.slug / f"variant-{self.variant.config.sha[:8]}.gin"


@cache
def _sha(config: Config, seed: int) -> str:
    """Of a configuration with another seed; remembered, because a study of 10,000 cells asks for each several times."""
    return config.override([f"Trainer.seed = {seed}"]).sha


def plan_ablation(
    study: str,
    fragments: Sequence[str] = (),
    overrides: Sequence[str] = (),
    *,
    seeds: int | None = None,
    run: str | Path | None = None,
) -> AblationPlan:
    """Read a study file, build every variant, and prove that each differs in what it says.

    Raises: ConfigError naming the variant, DataError.
    """
    ablation, folder = definition.read_with(study, Ablation, fragments, overrides, run, seeds=seeds)
    with definition.config_errors(str(definition.find(study))):
        check_names([ablation.baseline, *(name for name, _, _ in _design(ablation))])
    variants = _variants(ablation)
    metric = _metric(ablation, variants)
    variants = _with_texts(variants)
    matched = _matched(ablation, ablation.match, variants) if ablation.match else []
    return AblationPlan(ablation, folder, variants, matched, metric)


def _variants(ablation: Ablation) -> list[PlannedVariant]:
    base = resolve_base(ablation)
    _build("the base", base)
    baseline = _vary(base, ablation.all_deltas() if ablation.design == "leave_one_out" else [])
    _build(ablation.baseline, baseline)
    variants = [PlannedVariant(ablation.baseline, baseline)]
    for name, changed, deltas in _design(ablation):
        resolved = _vary(base, deltas)
        _refuse_idle_items(base, resolved, deltas)
        differences = prove(changed, baseline, resolved)
        _build(name, resolved)
        refuse_unequal_steps(name, baseline, resolved)
        variants.append(PlannedVariant(name, resolved, shown(differences)))
    _refuse_twins(variants)
    return variants


def _metric(ablation: Ablation, variants: Sequence[PlannedVariant]) -> Metric:
    """What all variants are compared by. Raises: ConfigError naming the variant that does not have it."""
    chosen = choose("Ablation", ablation.metric, variants[0].config)
    for variant in variants[1:]:
        with definition.config_errors(f"variant {variant.name!r}"):
            choose("Ablation", chosen.key, variant.config)
    return chosen


def _with_texts(variants: Sequence[PlannedVariant]) -> list[PlannedVariant]:
    """The same with the hashes of their texts. Raises: DataError if one is not there."""
    known: dict[tuple[str, ...], str] = {}
    for variant in variants:
        if (text := _text_of(variant.config)) not in known:
            corpus = experiment.build(variant.config, shapes_only=True).source
            assert corpus is not None
            known[text] = corpus.sha256
    return [replace(variant, corpus_sha=known[_text_of(variant.config)]) for variant in variants]


def _text_of(config: Config) -> tuple[str, ...]:
    """The bindings that say which text or task it is."""
    of_places = set(config.text.splitlines()) - set(identity(config.text).splitlines())
    return tuple(line for line in config.text.splitlines() if line.startswith(SOURCE) or line in of_places)


def _design(ablation: Ablation) -> Iterator[tuple[str, Delta, list[Delta]]]:
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
        for levels in itertools.product(*([None, *factor] for factor in factors)):
            chosen = [level for level in levels if level is not None]
            if chosen:
                name = " + ".join(delta.name for delta in chosen)
                yield name, Delta(name, tuple(item for delta in chosen for item in delta.items)), chosen


def _vary(base: Config, deltas: Sequence[Delta]) -> Config:
    if not deltas:
        return base
    fragments = [name for delta in deltas for name in delta.fragments]
    with definition.config_errors(f"variant {' + '.join(delta.name for delta in deltas)!r}"):
        return base.vary(fragments, [binding for delta in deltas for binding in delta.bindings])


def _build(name: str, resolved: Config) -> None:
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


def _refuse_twins(variants: Sequence[PlannedVariant]) -> None:
    for keys, trouble in (
        ([variant.config.text for variant in variants], "are one configuration; drop one of them"),
        ([variant.slug.lower() for variant in variants], "would share a folder; rename one of them"),
    ):
        first: dict[str, str] = {}
        for key, variant in zip(keys, variants, strict=True):
            twin = first.setdefault(key, variant.name)
            if twin != variant.name:
                raise ConfigError(f"variants {twin!r} and {variant.name!r} {trouble}")


def _matched(ablation: Ablation, cost: Cost, variants: Sequence[PlannedVariant]) -> list[PlannedVariant]:
    """The baseline, and every variant at the width that gives it the baseline's cost."""
    baseline, *others = variants
    target = costs(baseline.config)[FACTS[cost]]
    matched = [baseline]
    for variant in others:
        width = (ablation.widths or {}).get(variant.name, "LanguageModel.dim")
        resolved, error = solve_width(variant.name, variant.config, cost, target, width)
        if resolved is variant.config:
            matched.append(replace(variant, match_error=error))
        else:
            _build(variant.name, resolved)
            bindings = shown(diff(baseline.config, resolved))
            matched.append(PlannedVariant(f"{variant.name} (matched)", resolved, bindings, error, variant.corpus_sha))
    return matched

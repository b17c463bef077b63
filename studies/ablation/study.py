"""What a study file says of an ablation: its deltas, budget, seeds, and how its variants are compared."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rnnlab.errors import ConfigError
from rnnlab.registry import configurable
from rnnlab.studies.ablation import levels
from rnnlab.studies.ablation import sizes as of_sizes
from rnnlab.studies.ablation.matching import Cost
from rnnlab.studies.ablation.proof import Delta
from rnnlab.studies.ablation.statistics import MIN_SEEDS
from rnnlab.studies.budget import COMPARED, refuse_two_budgets

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
        match: a cost in which the variants are to match the baseline within 1%: parameters, macs or state; both tables
            are made.
        widths: {name: gin key} of the width that is solved for. Where none is named it is LanguageModel.dim, and of
            state what a part of the variant names: the memory of its attention, else the width of its core's keys.
        metric: what is compared: valid_bpc, best_valid_bpc or test_bpc of text; the same with _accuracy and _nats of a
            task, or one difficulty of its test, test_accuracy@256. None for valid_bpc, of a task valid_accuracy. With
            online_bpc runs score what they train on before they learn from it; valid_dynamic_bpc and test_dynamic_bpc
            are of runs with Trainer.dynamic.
        baseline: what the baseline is called in the tables.
        only: the variants that are trained beside the baseline, by name; None for all that the design makes.
        levels: {factor: name} of the level that the base itself has of a factor of a grid; "base" where none is named.
        tune: {gin key or macro: values}; each variant is compared at its own best of all combinations, on valid.
        tune_seeds: how many each combination is trained with, none of them a seed that is compared.
        tune_fraction: the budget of a run of tuning [fraction of that of a run that is compared].
        until: half-width of the widest interval of a difference, in the metric's unit: seeds are added to all variants
            until it is no more than this. `seeds` is then how many there are at the first look, at least three.
        most_seeds: where that ends.
        sizes: {name: [fragments and bindings]}, a budget among them: all variants are compared at every size, and the
            largest is predicted by a power law from the others before it is trained.
    Raises: ConfigError for an empty delta, a name that is taken, less than one seed, too many runs, or two budgets; for
        a grid that tunes nothing, or what decides what is trained on, how long, or how valid is scored.
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
    levels: Mapping[str, str] | None = None
    tune: Mapping[str, Any] | None = None
    tune_seeds: int = 1
    tune_fraction: float = 1.0
    until: float | None = None
    most_seeds: int = 20
    sizes: Mapping[str, Any] | None = None
    only: Sequence[str] | None = None

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
        if self.sizes is not None:
            of_sizes.refuse(self.sizes, vars(self))
            variants *= len(self.sizes)
        if variants * self.seeds > MOST_CELLS:
            raise ConfigError(
                f"Ablation.seeds = {self.seeds}: {variants:,} variants make {variants * self.seeds:,} runs, more than "
                f"{MOST_CELLS:,}; take fewer seeds or deltas"
            )
        self._check_looks(variants)
        self._check_tune(variants)
        if unknown := [name for name in self.widths or {} if name not in names]:
            raise ConfigError(f"Ablation.widths names {unknown[0]!r}, which is no delta; there are {', '.join(names)}")
        levels.refuse(self.levels, self.deltas, self.design)

    def _check_looks(self, variants: int) -> None:
        if self.until is None:
            return
        if not (math.isfinite(self.until) and self.until > 0):
            raise ConfigError(f"Ablation.until = {self.until}: more than 0, the half-width that is wanted")
        if self.most_seeds < self.first_look:
            raise ConfigError(
                f"Ablation.most_seeds = {self.most_seeds}: at least as many as at the first look, {self.first_look}"
            )
        if variants * self.most_seeds > MOST_CELLS:
            raise ConfigError(
                f"Ablation.most_seeds = {self.most_seeds}: {variants:,} variants make up to "
                f"{variants * self.most_seeds:,} runs, more than {MOST_CELLS:,}; take fewer seeds or deltas"
            )

    def _check_tune(self, variants: int) -> None:
        if self.tune is None:
            return
        if not self.tune or self.tune_seeds < 1:
            shown = f"Ablation.tune = {self.tune}, Ablation.tune_seeds = {self.tune_seeds}"
            raise ConfigError(f"{shown}: name what to tune, {{'AdamW.lr': [1e-3, 3e-3]}}, with at least 1 seed")
        if not 0 < self.tune_fraction <= 1:
            raise ConfigError(f"Ablation.tune_fraction = {self.tune_fraction}: more than 0, and at most 1, a whole run")
        for key, values in self.tune.items():
            if not isinstance(values, list | tuple) or len({repr(value) for value in values}) != len(values):
                raise ConfigError(f"Ablation.tune[{key!r}] = {values!r}: a list of different values is expected")
            if len(values) < 2:
                raise ConfigError(f"Ablation.tune[{key!r}] = {values!r}: two values or more; bind a single one instead")
            if key.rpartition("/")[2].startswith(COMPARED):
                raise ConfigError(
                    f"Ablation.tune[{key!r}]: decides what is trained on, how long, or how valid is scored, and valid "
                    f"chooses; take it out"
                )
        runs = variants * self.tune_seeds * math.prod(map(len, self.tune.values()))
        if runs > MOST_CELLS:
            raise ConfigError(f"Ablation.tune: {runs:,} runs of tuning, more than {MOST_CELLS:,}; take fewer values")

    @property
    def first_look(self) -> int:
        """Seeds at the first look of a study with `until`: three at least, or there would be no p-value."""
        return max(MIN_SEEDS, self.seeds)

    def factors(self) -> list[list[Delta]]:
        """Deltas that exclude each other, by factor; a delta by itself is a factor of one."""
        by_level = [items if isinstance(items, Mapping) else {name: items} for name, items in self.deltas.items()]
        return [[_delta(level, items) for level, items in of_factor.items()] for of_factor in by_level]

    def levels_by_factor(self) -> dict[str, tuple[str, ...]]:
        """The levels of every factor by name, that of the base first."""
        return levels.by_factor(self.deltas, self.levels)

    def all_deltas(self) -> list[Delta]:
        return [delta for factor in self.factors() for delta in factor]


def _delta(name: str, items: Any) -> Delta:
    if not isinstance(items, list | tuple) or not items or not all(isinstance(item, str) for item in items):
        raise ConfigError(f"Ablation.deltas[{name!r}] = {items!r}: a list of fragments and bindings is expected")
    return Delta(name, tuple(items))

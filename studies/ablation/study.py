"""What a study file says of an ablation: its deltas, budget, seeds, and how its variants are compared."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rnnlab.errors import ConfigError
from rnnlab.registry import configurable
from rnnlab.studies.ablation.matching import Cost
from rnnlab.studies.ablation.proof import Delta
from rnnlab.studies.budget import refuse_two_budgets

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

"""How long the runs of a study train: equally long, so that what they reach can be compared.

Text is counted in bytes. A task counts in positions, which "bytes" stands for, or in steps: a step reads examples whose
length follows from the seed and the step, so that equal steps read equal positions wherever the batch is the same.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from rnnlab import config
from rnnlab.config import Config
from rnnlab.config.bindings import macro_chain
from rnnlab.errors import ConfigError
from rnnlab.studies.source import name_of_source, task_of, trains_on_task
from rnnlab.task import Draws, Task

READ_BY_A_STEP = {"Trainer.batch_size": None, "Trainer.bptt": None, "Trainer.jitter": False, "Trainer.accumulate": 1}
"""What decides how much that is, beside the seed; with its default."""


SOURCE = ("Trainer.source", "corpus.", "task.", "TaskSplits.")  # what begins a line that says what is trained on
COMPARED = (*SOURCE, "Trainer.seed", "Trainer.bytes", "Trainer.steps", "Trainer.epochs", "Trainer.eval_")
"""What begins a line that decides what is trained on, how long, or how valid is scored. Who chooses by valid varies
none of it: what is best would be what has more of it."""


class Budgeted(Protocol):
    """A study: what its runs share, and how long they train."""

    @property
    def base(self) -> Sequence[str]: ...
    @property
    def overrides(self) -> Sequence[str]: ...
    @property
    def bytes(self) -> int | None: ...
    @property
    def steps(self) -> int | None: ...


def refuse_two_budgets(study: Budgeted) -> None:
    """Raises: ConfigError if a study says both of its own budgets."""
    if study.bytes is not None and study.steps is not None:
        noun = type(study).__name__
        raise ConfigError(
            f"{noun}.bytes = {study.bytes}, {noun}.steps = {study.steps}: one budget; leave one of them out"
        )


def resolve_base(study: Budgeted) -> Config:
    """The configuration of a study's runs, before it varies anything; the study's budget yields to an override.

    Raises: ConfigError as `config.resolve`, and without a budget that is equal for all runs.
    """
    noun = type(study).__name__
    own = [f"Trainer.{unit} = {bound}" for unit in ("bytes", "steps") if (bound := getattr(study, unit)) is not None]
    if getattr(study, "metric", None) == "online_bpc":
        own.append("Trainer.online = True")
    overrides = list(study.overrides)
    resolved = config.resolve(
        study.base, [*own, *overrides] if study.steps is None else config.with_later(own, overrides)
    )
    if trains_on_task(resolved):
        if counts_in_steps(resolved) or resolved.value("Trainer.bytes") is not None:
            return resolved
        raise ConfigError(f"a study compares runs of equal budgets: name it with {noun}.steps or --bytes N")
    if study.steps is not None:
        raise ConfigError(
            f"{noun}.steps = {study.steps}: runs on {name_of_source(resolved)} are compared at equal bytes; "
            f"bind {noun}.bytes in its place"
        )
    if resolved.value("Trainer.bytes") is None:
        raise ConfigError("a study compares runs of equal budgets: name it with --bytes N")
    return resolved


def counts_in_steps(config: Config) -> bool:
    """Whether steps are all that bounds a run on a task."""
    return config.value("Trainer.bytes") is None and config.value("Trainer.steps") is not None


def shorter(config: Config, fraction: float) -> list[str]:
    """The bindings that leave a run a fraction of its budget, of whole bytes or steps."""
    budgets = {key: config.value(key) for key in ("Trainer.bytes", "Trainer.steps")}
    return [f"{key} = {max(1, round(budget * fraction))}" for key, budget in budgets.items() if budget is not None]


def refuse_unequal_steps(name: str, base: Config, variant: Config) -> None:
    """Raises: ConfigError if a step of the variant reads another number of positions, and steps may end a run."""
    if variant.value("Trainer.steps") is None:
        return
    for key, default in READ_BY_A_STEP.items():
        before, after = base.value(key, default), variant.value(key, default)
        if before != after:
            raise ConfigError(
                f"variant {name!r}: {key} is {after} and the baseline's {before}, so equal steps read unequal "
                f"positions; give the budget as Ablation.bytes, which counts positions"
            )


def refuse_to_vary_a_step(base: Config, keys: Iterable[str]) -> None:
    """Raises: ConfigError if a space holds what decides how much a step reads, and steps may end a run."""
    if base.value("Trainer.steps") is None:
        return
    for key in READ_BY_A_STEP:
        binding = base.get(key)
        spoken = {key, *(() if binding is None else macro_chain(binding.macros, base.bindings))}
        if varied := spoken & set(keys):
            raise ConfigError(
                f"Search.space varies {varied.pop()!r}, so trials of equal steps read unequal positions; give the "
                f"budget as Search.bytes, which counts positions"
            )


def refuse_another_comparison(before: Config, after: Config) -> None:
    """Raises: ConfigError if a choice by valid changes what is trained on, how long, or how valid is scored."""
    one, other = _compared(before), _compared(after)
    if changed := sorted(key for key in {**one, **other} if one.get(key) != other.get(key)):
        raise ConfigError(
            f"{changed[0]} decides what is trained on, how long, or how valid is scored, and valid chooses; take it out"
        )


def _compared(config: Config) -> dict[str, tuple[str, ...]]:
    """What is bound of that, by key: as it is written, with the macros behind it."""
    return {
        key: (binding.text, *(config.bindings[name].text for name in macro_chain(binding.macros, config.bindings)))
        for key, binding in config.bindings.items()
        if key.startswith(COMPARED)
    }


def positions(config: Config) -> int:
    """The budget of a run [positions], of text [bytes]; about, where it is given in steps of examples that differ."""
    bounded = config.value("Trainer.bytes")
    task = None if bounded is not None else task_of(config)
    if task is None:
        return int(bounded)
    bptt, sequences = config.value("Trainer.bptt"), config.value("Trainer.batch_size")
    lengths = [_length(task, difficulty) for difficulty in task.trained]  # each as often as the others
    mean = float(np.mean([length / -(-length // bptt) for length in lengths]))
    return round(float(config.value("Trainer.steps") * config.value("Trainer.accumulate", 1) * sequences * mean))


def _length(task: Task, difficulty: int) -> int:
    """Of an example [positions]."""
    return int(task.examples(Draws(0, np.zeros(1, dtype=np.int64)), difficulty).inputs.shape[1])

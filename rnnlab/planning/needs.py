"""What is planned: a configuration, its source as far as it is known, and the ranks that share it."""

from dataclasses import dataclass, replace

import torch

from rnnlab import config
from rnnlab.config import Config
from rnnlab.data.corpora import PUBLISHED
from rnnlab.data.source import Source
from rnnlab.evaluation import longest_memory
from rnnlab.model import count_parameters
from rnnlab.planning import outline
from rnnlab.planning.shadow import Shadow, shadow
from rnnlab.speed.bench import bytes_of_step
from rnnlab.training.budget import budgets
from rnnlab.training.evaluations import EvaluationPlan, plan_evaluations
from rnnlab.training.experiment import build
from rnnlab.training.learner import Learner
from rnnlab.training.recipe import Trainer


@dataclass(frozen=True)
class PlannedRun:
    """A run that is not there yet, without a number of its model computed."""

    config: Config
    trainer: Trainer
    source: Source  # of a text, an outline
    has_size: bool  # whether the size of a text is known
    ranks: int
    parameters: int
    macs: int  # multiply-accumulates of a position
    memory: int | None  # [positions] of the longest attention
    step_bytes: int  # [bytes] trained on at a step
    budget: int  # [bytes] trained on to the end
    evaluations: EvaluationPlan

    @property
    def ends(self) -> bool:
        """Whether the end of the budget can be told: without the size of the text an epoch cannot."""
        return self.has_size or budgets(self.trainer).keys() != {"epoch"}

    def changed(self, bindings: list[str]) -> "PlannedRun":
        """The same with further bindings; the corpus is not looked at again."""
        changed = self.config.override(bindings)
        return planned(changed, self.ranks, self.source, self.has_size)

    def shadow(self) -> Shadow:
        """Of one rank, for a chunk of full length."""
        t = self.trainer
        own = [f"Trainer.batch_size = {t.batch_size // self.ranks}"] if self.ranks > 1 else []
        alike = ["Trainer.jitter = False", *own]
        found = shadow(self.config.override(alike), outline.outline_of(self.source, self.ranks))
        if self.ranks == 1:
            return found
        # DistributedDataParallel copies gradients in buckets; a checkpoint has the state of all ranks.
        buckets = {"buckets of gradients": 4 * self.parameters}
        others = (self.ranks - 1) * found.carried
        return replace(found, memory=found.memory | buckets, checkpoint=found.checkpoint + others)


def planned_run(fragments: list[str], overrides: list[str], ranks: int = 1) -> PlannedRun:
    """What `rnnlab train` would train. Raises: ConfigError, DataError as it does; a corpus need not be there."""
    return planned(config.resolve(fragments, overrides), ranks)


def planned(of: Config, ranks: int = 1, source: Source | None = None, has_size: bool = True) -> PlannedRun:
    """What a configuration would train. Raises: as `planned_run`."""
    experiment = build(of, shapes_only=True, needs_source=False)
    t = experiment.trainer
    if source is None:
        if experiment.source is not None:
            source = outline.outline_of(experiment.source)
        else:
            published = PUBLISHED.get(getattr(t.source, "__name__", "").lower())
            has_size = published is not None
            name, size = (published.name, published.size) if published else ("a text", outline.UNKNOWN_SIZE)
            source = outline.outline(name, size)
    source.training(t.batch_size, (0, ranks), torch.device("cpu"))  # raises if the ranks cannot share it
    experiment.source = source
    learner = Learner(experiment)
    budget = learner.budget_bytes()
    evaluations = plan_evaluations(
        t, budget=budget, epoch=learner.epoch_bytes(), valid=len(source.valid), test=len(source.test),
        whole=source.task is not None,
    )  # fmt: skip
    return PlannedRun(
        of, t, source, has_size, ranks, count_parameters(experiment.model), experiment.model.macs(),
        longest_memory(experiment.model), bytes_of_step(learner), budget, evaluations,
    )  # fmt: skip

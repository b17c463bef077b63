"""A run's model as dynamic evaluation takes it, with the statistics of what it was trained on."""

from rnnlab.data.splits import Corpus
from rnnlab.errors import ConfigError
from rnnlab.scoring.dynamic import DynamicForecaster, mean_squares
from rnnlab.training.experiment import Experiment


def dynamic_forecaster(experiment: Experiment) -> DynamicForecaster:
    """The model and its rule, `Trainer.dynamic`.

    The statistics are over the first bytes of the training split, read as evaluations read: with the trainer's
    eval_batch_size and the rule's bptt.
    Raises: ConfigError if the run is on a task; DataError if the training split is needed and cannot be read.
    """
    rule, source, trainer = experiment.dynamic, experiment.source, experiment.trainer
    assert rule is not None
    if source is not None and not isinstance(source, Corpus):
        raise ConfigError(f"dynamic evaluation is of texts, and {source.name} is a task")
    if not rule.needs_statistics:
        return DynamicForecaster(experiment.model, rule)
    assert source is not None
    device = next(experiment.model.parameters()).device
    (part,) = source.train.parts(trainer.eval_batch_size, rule.statistics, device)
    return DynamicForecaster(experiment.model, rule, mean_squares(experiment.model, part, rule.bptt))


def with_dynamic(bound: object, overrides: list[str]) -> list[str]:
    """The bindings that make a run be scored so; `bound` is what its configuration has for Trainer.dynamic."""
    asked = any(line.replace(" ", "").startswith("Trainer.dynamic=") for line in overrides)
    return overrides if asked or bound is not None else ["Trainer.dynamic = @Dynamic", *overrides]

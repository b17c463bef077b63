"""Honest evaluations that mutants are made from: those that rnnlab has."""

from torch import nn

from rnnlab.data.source import Scorable
from rnnlab.evaluation import examine
from rnnlab.scoring.dynamic import Dynamic, DynamicForecaster
from rnnlab.scoring.forecaster import Forecaster
from rnnlab.scoring.order import ScoreFirst
from rnnlab.scoring.score import Score


class StaticEvaluation:
    """The model as it is."""

    order = ScoreFirst

    def __call__(self, model: nn.Module, split: Scorable, *, batch_size: int, bptt: int) -> Score:
        return examine(self.order(self.forecaster(model, split)), split, batch_size=batch_size, bptt=bptt)

    def forecaster(self, model: nn.Module, split: Scorable) -> Forecaster:
        return Forecaster(model)


class BySgd(StaticEvaluation):
    """A model that learns from what was scored, at a rate that shows."""

    def forecaster(self, model: nn.Module, split: Scorable) -> Forecaster:
        return DynamicForecaster(model, Dynamic(rule="sgd", rate=0.3, decay=0.1))


class ByRms(StaticEvaluation):
    def forecaster(self, model: nn.Module, split: Scorable) -> Forecaster:
        squares = {name: p.detach() ** 2 for name, p in model.named_parameters()}  # any that do not depend on the text
        return DynamicForecaster(model, Dynamic(rate=0.1, decay=0.02, epsilon=0.01), squares)

"""Evaluations, each broken in one way."""

import torch
from torch import Tensor

from rnnlab.data.source import Chunk, Read
from rnnlab.scoring.losses import cross_entropy
from rnnlab.scoring.order import ScoreFirst
from tests.laws.honest_evaluations import ByRms, BySgd, StaticEvaluation


class LearningBeforeScoring(ScoreFirst):
    def read(self, read: Read, chunk: Chunk) -> None:
        if chunk.position == 0:
            self.begin(read.inputs.shape[1])
        start = self.forecaster.state
        self.forecaster.learn(read)
        self.forecaster.state = start
        self.predict(read.inputs)
        self.score(read, chunk)
        with torch.no_grad():
            _, self.forecaster.state = self.forecaster.model(read.inputs, start)
        self.forecaster._graph = None


class LearnsFirst(BySgd):
    order = LearningBeforeScoring


class LearnsFirstByRms(ByRms):
    order = LearningBeforeScoring


class Otherwise(ScoreFirst):
    """Adds to the score what `nats` makes of the chunk."""

    def score(self, read: Read, chunk: Chunk) -> None:
        _, logits = self._pending
        self._pending, self._scored = None, len(read.targets)
        each = cross_entropy(logits.detach(), read.targets, reduction="none").view_as(read.targets)
        nats = self.nats(each, logits.detach())
        self.running._nats += nats.sum()
        self.running._count += self.counted(each)

    def nats(self, each: Tensor, logits: Tensor) -> Tensor:
        return each

    def counted(self, each: Tensor) -> int:
        return each.numel()


class OnePercentMore(Otherwise):
    def nats(self, each: Tensor, logits: Tensor) -> Tensor:
        return each - torch.log(torch.tensor(1.01, dtype=each.dtype))


class SumsToOnePercentMore(StaticEvaluation):
    order = OnePercentMore


class WithoutTheHard(Otherwise):
    def nats(self, each: Tensor, logits: Tensor) -> Tensor:
        return torch.where(each > 1.0, 0.0, each)


class SkipsHardBytes(StaticEvaluation):
    """They cost nothing."""

    order = WithoutTheHard


class WithoutCountingTheHard(WithoutTheHard):
    def counted(self, each: Tensor) -> int:
        return max(1, int((each <= 1.0).sum()))


class LeavesHardBytesOutOfTheMean(StaticEvaluation):
    """They are not counted either."""

    order = WithoutCountingTheHard


class OfTheLikeliest(Otherwise):
    def nats(self, each: Tensor, logits: Tensor) -> Tensor:
        return -logits.log_softmax(-1).amax(-1)


class ScoresTheLikeliest(StaticEvaluation):
    """Every byte costs what the likeliest would."""

    order = OfTheLikeliest

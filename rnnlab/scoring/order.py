"""The one place where a score enters a result, and the order in which it does.

    order = ScoreFirst(forecaster, part)
    order.begin(batch)
    order.predict(inputs); order.score(read, chunk); order.learn(read)          # chunk after chunk

A score is worth something if no byte was learned from before it was scored: then it is the length of a code, and the
text can be had back from so many bits (`rnnlab compress`). `rnnlab.testing.laws("evaluation")` hold an evaluation to
that.
"""

import torch
from torch import Tensor

from rnnlab.data.source import Chunk, Portion, Read
from rnnlab.scoring.forecaster import Forecaster
from rnnlab.scoring.running import RunningScore


class ScoreFirst:
    """Lets a forecaster predict, scores what it predicted, and only then lets it learn. Any other order is refused.

    The forecaster gets the targets of a chunk when they are scored, and never before.
    """

    def __init__(self, forecaster: Forecaster) -> None:
        self.forecaster = forecaster
        self._pending: tuple[tuple[int, ...], Tensor] | None = None  # shape of the inputs, logits: not scored yet
        self._scored = 0  # positions that were scored and not learned from

    def open(self, part: Portion, device: torch.device) -> None:
        """What comes next belongs to `part`."""
        self.running = RunningScore(part, device)

    def begin(self, batch: int) -> None:
        """A reading begins, without state or memory."""
        assert self._pending is None
        self._scored = 0
        self.forecaster.begin(batch)

    def predict(self, inputs: Tensor, *where: Tensor) -> Tensor:
        """A chunk at once; see `Forecaster.predict`."""
        assert self._pending is None, "what was predicted is scored before anything else is predicted"
        logits = self.forecaster.predict(inputs, *where)
        self._pending = tuple(inputs.shape), logits
        return logits

    def step(self, tokens: Tensor) -> Tensor:
        """One position; see `Forecaster.step`."""
        assert self._pending is None, "what was predicted is scored before anything else is predicted"
        logits = self.forecaster.step(tokens)
        self._pending = (1, *tokens.shape), logits.unsqueeze(0)
        return logits

    def score(self, read: Read, chunk: Chunk) -> None:
        """Score what was predicted just now, all of it."""
        assert self._pending is not None, "only what was predicted is scored"
        shape, logits = self._pending
        assert read.targets.shape == shape, "every position that was predicted is scored, and no other"
        self._pending = None
        with torch.no_grad():
            self.running.add(read, logits.detach(), chunk)
        self._scored += len(read.targets)

    def learn(self, read: Read) -> None:
        """Let the forecaster learn from what has been scored since it last did."""
        assert self._pending is None, "what was predicted is scored before it is learned from"
        assert len(read.targets) == self._scored, "what is learned from was scored before"
        self._scored = 0
        self.forecaster.learn(read)

    def read(self, read: Read, chunk: Chunk) -> None:
        """A whole chunk, in that order."""
        if chunk.position == 0:
            self.begin(read.inputs.shape[1])
        self.predict(read.inputs, *read.where)
        self.score(read, chunk)
        self.learn(read)

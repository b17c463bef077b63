"""The law of evaluations: a score is the length of a code.

An evaluation is anything that scores a model on a text. The laws ask for nothing but the figure: they change what the
text ends with, and look at what that does.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol, TypeAlias

import numpy as np
import torch
from torch import nn

from rnnlab.data.memory_text import MemoryText
from rnnlab.data.source import Scorable
from rnnlab.errors import LawError
from rnnlab.model import LanguageModel
from rnnlab.rng import generator
from rnnlab.scoring.score import Score
from rnnlab.testing.law import Book
from rnnlab.testing.small import Leaky

VOCABULARY = 3  # tokens, so that all continuations of all sequences can be tried
LONGEST = 8  # [positions] of a sequence
BPTT = 3  # [positions] of a chunk: the texts end at each place within one, and begin another
TOLERANCE = 1e-9


class Evaluation(Protocol):
    """What scores a model on a text."""

    def __call__(self, model: nn.Module, split: Scorable, *, batch_size: int, bptt: int) -> Score: ...


EvaluationFactory: TypeAlias = Callable[[], Evaluation]
"""What the laws of evaluations take: a class, a `functools.partial` or any function, called `part()`."""


@dataclass(frozen=True)
class EvaluationSubject:
    """An evaluation, and the seed of the model and the texts that it is tried on."""

    part: EvaluationFactory
    seed: int = 0

    def __str__(self) -> str:
        return f"seed={self.seed}"

    def nats(self, columns: np.ndarray) -> float:
        """What a text costs in all [nats]; columns (L, B): position by position, what stands there in each sequence."""
        length, batch = columns.shape
        if length < 2:
            return 0.0  # the first position of a sequence is predicted from nothing, and not scored
        torch.manual_seed(self.seed)
        model = LanguageModel(8, [Leaky], vocabulary=VOCABULARY, init_std=0.5).double()
        text = MemoryText("text", np.ascontiguousarray(columns.T).ravel())
        with torch.enable_grad():
            score = self.part()(model, text, batch_size=batch, bptt=BPTT)
        scored = score.protocol.bytes_scored or 0
        if scored != (length - 1) * batch:
            self.refuse(f"it says that it scored {scored} positions of {(length - 1) * batch}")
        return score.nats * scored

    def refuse(self, violation: str) -> NoReturn:
        """Raises: LawError with the violation and the case."""
        raise LawError(f"{violation} ({self})")


def _subjects(part: EvaluationFactory, kind: str, seed: int = 0) -> Sequence[EvaluationSubject]:
    return [EvaluationSubject(part, seed)]


law = Book(_subjects).law


@law("evaluation")
def score_is_a_code_length(subject: EvaluationSubject) -> None:
    """Whatever was read, the probabilities that the score implies for what may come next sum to one.

    Source: Kraft 1949 and McMillan 1956; for a score that comes of a sum over positions, Rissanen 1984. Of a text x and
    a next position a, p(a | x) = exp(nats(x) - nats(x a)). If these sum to one for every x, the score is the length of
    a code for the text, however it was computed. An evaluation that learns from a position before it scores it, leaves
    out what it finds hard, or whose probabilities are too large, gives more.
    """
    for batch in (1, 2):
        draws = torch.randint(VOCABULARY, (LONGEST, batch), generator=generator(subject.seed, batch, "text"))
        text = draws.numpy().astype(np.uint8)
        for length in range(1, LONGEST):
            before = subject.nats(text[:length])
            total = 0.0
            for following in itertools.product(range(VOCABULARY), repeat=batch):
                column = np.array([following], dtype=np.uint8)
                total += math.exp(before - subject.nats(np.concatenate([text[:length], column])))
            if not abs(total - 1.0) <= TOLERANCE:  # written so that a NaN counts as broken
                subject.refuse(
                    f"after {length} positions of {batch} sequences in chunks of {BPTT} the probabilities of what may "
                    f"come next sum to {total:.6f}, not to 1"
                )

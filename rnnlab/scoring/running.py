"""What has been scored so far."""

import torch
from torch import Tensor

from rnnlab.data.source import Chunk, Portion, Read
from rnnlab.scoring.losses import cross_entropy, right_answers, weighted_cross_entropy
from rnnlab.scoring.score import Answers


class RunningScore:
    """What has been scored of one part so far; on the model's device, so that nothing waits for it."""

    def __init__(self, part: Portion, device: torch.device) -> None:
        self.part = part
        self._nats = torch.zeros((), dtype=torch.float64, device=device)
        self._count = 0.0  # of the bytes scored, or the weight of the answers
        counts = (torch.zeros((), dtype=torch.int64, device=device) for _ in range(4))
        self._right, self._right_last, self._right_whole, self._asked = counts
        self._wrong: Tensor | None = None  # bool (B,): of what is being read, what has had a wrong answer
        self._examples = 0

    def add(self, read: Read, logits: Tensor, chunk: Chunk) -> None:
        """Called by `ScoreFirst` alone: nothing else brings a score into a result."""
        if read.weights is None:
            self._nats += cross_entropy(logits, read.targets, reduction="sum").double()
            self._count += read.targets.numel()
            return
        self._nats += weighted_cross_entropy(logits, read).double()
        self._count += self.part.reader.weight(chunk)
        asked = read.weights > 0
        right = torch.zeros_like(asked)
        right.view(-1)[slice(None) if read.asked is None else read.asked] = right_answers(logits, read)
        wrong = (asked & ~right).any(0)
        self._wrong = wrong if self._wrong is None or chunk.position == 0 else self._wrong | wrong
        self._right += right.sum()
        self._asked += asked.sum()
        if chunk.position + chunk.length == self.part.reader.positions(chunk.reading):
            self._right_last += right[-1].sum()
            self._right_whole += (~self._wrong).sum()
            self._examples += read.inputs.shape[1]

    @property
    def count(self) -> float:
        """Bytes of a text that were scored, or the weight of a task's answers."""
        return self._count

    @property
    def total(self) -> float:
        """Of all that was scored [nats]."""
        return float(self._nats)

    @property
    def nats(self) -> float:
        """The mean."""
        return self.total / self._count

    def answers(self) -> Answers:
        """Of a part of a task."""
        assert self.part.difficulty is not None
        assert self.part.chance is not None
        asked = int(self._asked)
        last, every = int(self._right_last) / self._examples, int(self._right) / asked
        is_last = self.part.judged == "last"
        return Answers(
            difficulty=self.part.difficulty,
            accuracy=last if is_last else every,
            accuracy_last=last,
            accuracy_asked=every,
            accuracy_whole=int(self._right_whole) / self._examples,
            nats=self.nats,
            chance=self.part.chance,
            examples=self._examples,
            answers=self._examples if is_last else asked,
        )

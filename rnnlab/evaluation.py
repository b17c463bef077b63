"""How good a model is on a split: bits per character of a text, accuracy and nats of a task's answers."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.data.source import Chunk, Portion, Read, Scorable
from rnnlab.errors import Diverged
from rnnlab.matmul import products_in
from rnnlab.progress import ProgressBar
from rnnlab.state import detach

LN2 = math.log(2.0)


@dataclass(frozen=True)
class Protocol:
    """How a figure was measured; without it a figure says little."""

    batch_size: int  # sequences side by side: contiguous pieces of a text, or examples of a task
    bptt: int  # [positions] read at a time; the figure does not depend on it beyond rounding
    memory: int | None  # [positions] each query may see; None without attention
    bytes_scored: int | None = None  # of a text
    examples: int | None = None  # of a task
    answers: int | None = None  # of a task, that accuracy is about

    def told(self) -> dict[str, Any]:
        """What of it there is: memory, which may be None, and the counts of one sort of source."""
        return {"batch_size": self.batch_size, "bptt": self.bptt, "memory": self.memory, **self.counts()}

    def counts(self) -> dict[str, int]:
        """How much was scored."""
        counts = {"bytes_scored": self.bytes_scored, "examples": self.examples, "answers": self.answers}
        return {name: count for name, count in counts.items() if count is not None}


@dataclass(frozen=True)
class Answers:
    """How the answers at one difficulty of a task came out."""

    difficulty: int
    accuracy: float  # on what the task judges [fraction]
    accuracy_last: float  # at the last position of every example
    accuracy_asked: float  # on all that is asked
    accuracy_whole: float  # of examples, those whose every answer is right
    nats: float  # mean over what is asked
    chance: float  # accuracy of the best constant answer
    examples: int
    answers: int  # that `accuracy` is about


@dataclass(frozen=True)
class Score:
    """What a split came to.

    Of a task accuracy, nats and chance are means over its difficulties, each of which counts alike.
    """

    nats: float  # mean over the bytes, or answers, that were scored
    protocol: Protocol
    by: tuple[Answers, ...] = field(default=())  # of a task, one a difficulty

    @property
    def bpc(self) -> float:
        """[bits/byte] of a text, the mean over the bytes scored."""
        return self.nats / LN2

    @property
    def accuracy(self) -> float | None:
        """[fraction]; None of a text."""
        return _mean([one.accuracy for one in self.by])

    @property
    def chance(self) -> float | None:
        """[fraction] that the best constant answers get right; None of a text."""
        return _mean([one.chance for one in self.by])

    @property
    def loss(self) -> float:
        """What is lower of the better: BPC of a text, nats of a task."""
        return self.nats if self.by else self.bpc


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def evaluate(
    model: nn.Module,
    split: Scorable,
    *,
    batch_size: int = 8,
    bptt: int = 1024,
    limit: int | None = None,
    progress: bool = False,
    between_chunks: Callable[[], None] = lambda: None,
) -> Score:
    """Score `model` on `split`, with state and memory carried from chunk to chunk; draws no randomness and leaves the
    model as it was.

    Args:
        batch_size: B, contiguous pieces of a text that are read side by side, or examples of a task.
        bptt: T, positions read at a time [positions].
        limit: score only about so many positions: the first bytes of a text, fewer examples; None for all.
        progress: show how far it has come.
        between_chunks: called before every chunk; may raise to stop.
    Raises: Diverged if the loss is not finite; DataError.
    Differs: the first byte of every sequence of a text has nothing to be predicted from and is not scored, nor are the
        at most `batch_size` - 1 bytes that are left over after the cut.
    """
    device = next(model.parameters()).device
    parts = split.parts(batch_size, limit, device)
    protocol = protocol_of(model, split, batch_size=batch_size, bptt=bptt, limit=limit)
    was_training = model.training
    model.eval()
    tallies = []
    try:
        total = sum(part.reader.epoch or 0 for part in parts)
        counted = "bytes" if parts[0].difficulty is None else "positions"
        with (
            torch.no_grad(),
            products_in("fp32"),
            ProgressBar("evaluate", total, shown=progress, counted=counted) as bar,
        ):
            done = 0
            for part in parts:
                tally, state = _Tally(part, device), None
                for chunk in part.chunks(bptt):
                    between_chunks()
                    read = part.reader.read(chunk).to(device)
                    if chunk.position == 0:
                        state = model.initial_state(read.inputs.shape[1])  # type: ignore[operator]
                    logits, state = model(read.inputs, state, *read.where)
                    tally.add(read, logits, chunk)
                    state = detach(state)
                    done += read.inputs.numel()
                    bar.show(done)
                tallies.append(tally)
    finally:
        model.train(was_training)
    by = tuple(tally.answers() for tally in tallies if tally.part.difficulty is not None)
    nats = sum(one.nats for one in by) / len(by) if by else tallies[0].nats
    if not math.isfinite(nats):
        figure = f"{nats:g} nats" if by else f"BPC is {nats / LN2}"
        raise Diverged(f"the {split.name} {figure}: the parameters or what they give are not finite")
    return Score(nats, protocol, by)


class _Tally:
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
    def nats(self) -> float:
        return float(self._nats) / self._count

    def answers(self) -> Answers:
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


def protocol_of(model: nn.Module, split: Scorable, *, batch_size: int, bptt: int, limit: int | None) -> Protocol:
    """How `evaluate` with these arguments measures."""
    return Protocol(batch_size, bptt, longest_memory(model), **split.scored(batch_size, limit))


def cross_entropy(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """logits (T, B, V), targets (T, B) -> [nats], in at least single precision."""
    flat = logits.flatten(0, 1)
    return F.cross_entropy(flat.float() if flat.dtype.itemsize < 4 else flat, targets.flatten(), reduction=reduction)


def weighted_cross_entropy(logits: Tensor, read: Read) -> Tensor:
    """The sum over what is asked [nats]; logits are those of the positions that are."""
    assert read.weights is not None
    each = cross_entropy(logits.view(1, -1, logits.shape[-1]), read.answers(read.targets), reduction="none")
    return (each * read.answers(read.weights)).sum()


def right_answers(logits: Tensor, read: Read) -> Tensor:
    """bool (n,): where something is asked, whether the likeliest token is the answer."""
    return logits.view(-1, logits.shape[-1]).argmax(-1) == read.answers(read.targets)


def with_memory(model: nn.Module) -> list[Any]:
    """The parts whose window `part.memory` [positions] says, and that a longer or shorter one can be set on."""
    return [part for part in model.modules() if isinstance(getattr(part, "memory", None), int)]


def longest_memory(model: nn.Module) -> int | None:
    """The longest window among the model's attentions [positions]; None without attention."""
    return max((part.memory for part in with_memory(model)), default=None)

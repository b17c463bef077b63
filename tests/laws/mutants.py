"""Deliberately broken parts, each with the law that has to catch it, beside the honest parts they are made from."""

import copy
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.ops.dropout import dropout
from rnnlab.testing.small import Leaky, LeakyState, TwoLayers, Window, WindowState


class Gained(TwoLayers):
    """TwoLayers times a gain of two factors, which fold into one: an honest part that folds."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.gains = nn.Parameter(torch.ones(2, dim))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.gains.prod(0)

    def fold(self) -> Self:
        folded = copy.deepcopy(self)
        folded.gains = nn.Parameter(self.gains.detach().prod(0, keepdim=True))
        return folded


class ResidualState(NamedTuple):
    core: Any
    attention: Any


class Residual(nn.Module):
    """Every sub-layer beside a skip path: an honest block."""

    def __init__(
        self,
        dim: int,
        core: Callable[[int], Any],
        attention: Callable[[int], Any] | None = None,
        feedforward: Callable[[int], Any] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.core = core(dim)
        self.attention = attention(dim) if attention else None
        self.feedforward = feedforward(dim) if feedforward else None

    def initial_state(self, batch: int) -> ResidualState:
        memory = self.attention.initial_state(batch) if self.attention else None
        return ResidualState(self.core.initial_state(batch), memory)

    def forward(self, x: Tensor, state: ResidualState) -> tuple[Tensor, ResidualState]:
        h, core_state = self.core(x, state.core)
        x, memory = x + dropout(h, self.dropout, self.training), None
        if self.attention:
            h, memory = self.attention(x, x, state.attention)
            x = x + h
        if self.feedforward:
            x = x + self.feedforward(x)
        return x, ResidualState(core_state, memory)

    def macs(self) -> int:
        return sum(part.macs() for part in (self.core, self.attention, self.feedforward) if part)


# Cores


class AnswersInFloat32(Leaky):
    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        y, state = super().forward(x, state)
        return y.float(), state


class PromotesItsState(Leaky):
    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        y, state = super().forward(x, state)
        return y, LeakyState(state.h.double())


class ForgetsBetweenChunks(Leaky):
    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        return super().forward(x, LeakyState(torch.zeros_like(state.h)))


class ReturnsTheStateItWasGiven(Leaky):
    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        return super().forward(x, state)[0], state


class NormalizesOverTheChunk(Leaky):
    """What is subtracted is known only at the end of the chunk, and depends on where it ends."""

    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        return super().forward(x - x.mean(0), state)


class PeeksOneAhead(Leaky):
    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        y, state = super().forward(x, state)
        return y + 0.1 * torch.cat([x[1:], torch.zeros_like(x[:1])]), state


class SubtractsTheBatchMean(Leaky):
    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        return super().forward(x - x.mean(1, keepdim=True), state)


class WritesIntoItsState(Leaky):
    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        y, end = super().forward(x, state)
        state.h.copy_(end.h)
        return y, end


class WritesIntoItsInput(Leaky):
    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        y, state = super().forward(x, state)
        with torch.no_grad():
            x.mul_(0.5)
        return y, state


class RemembersOnItself(Leaky):
    h: Tensor | None = None

    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        if self.h is not None and self.h.shape == state.h.shape:
            state = LeakyState(self.h)
        y, state = super().forward(x, state)
        self.h = state.h.detach()
        return y, state


class CountsItsCalls(Leaky):
    calls = itertools.count()

    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        y, state = super().forward(x, state)
        return y + next(self.calls), state


class CountsInABuffer(Leaky):
    """The answers are right; what a checkpoint holds depends on how often the part was asked."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        self.calls += 1
        return super().forward(x, state)


class CountedState(NamedTuple):
    h: Tensor
    position: int


class CountsInItsState(Leaky):
    def initial_state(self, batch: int) -> Any:
        return CountedState(super().initial_state(batch).h, 0)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, end = super().forward(x, LeakyState(state.h))
        return y, CountedState(end.h, state.position + len(x))


class LanesInTheWrongPlace(Leaky):
    def initial_state(self, batch: int) -> LeakyState:
        return LeakyState(super().initial_state(batch).h.unsqueeze(1))  # (B, 1, D)

    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        y, state = super().forward(x, LeakyState(state.h.squeeze(1)))
        return y, LeakyState(state.h.unsqueeze(1))


class StartsOnTheCPU(Leaky):
    def initial_state(self, batch: int) -> LeakyState:
        return LeakyState(torch.zeros(batch, self.leak.numel(), dtype=self.leak.dtype))


class History(NamedTuple):
    h: Tensor  # (B, D)
    seen: Tensor  # (positions so far, B, D)


class KeepsTheWholePast(Leaky):
    def initial_state(self, batch: int) -> Any:
        h = super().initial_state(batch).h
        return History(h, h.new_zeros(0, *h.shape))

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, end = super().forward(x, LeakyState(state.h))
        return y, History(end.h, torch.cat([state.seen, x]))


class DropsTheGradientOfItsLeak(Leaky):
    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        leak = self.leak
        del self.leak
        self.leak = leak.detach()  # type: ignore[assignment]
        try:
            return super().forward(x, state)
        finally:
            self.leak = leak


class CutsTheGradientThroughTime(Leaky):
    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        pieces = []
        for piece in torch.split(x, 1):
            y, state = super().forward(piece, LeakyState(state.h.detach()))
            pieces.append(y)
        return torch.cat(pieces), state


class HalvesInFloat32(Leaky):
    """A fast path of one precision that is off by a constant."""

    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        y, state = super().forward(x, state)
        return y * 1.01 if x.dtype == torch.float32 else y, state


class CancelsInBfloat16(Leaky):
    """Harmless where 300 + x is exact enough; bfloat16 has no number between 300 and 302."""

    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        y, state = super().forward(x, state)
        return (y + 300) - 300, state


class BehavesWhileCompiled(Leaky):
    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        y, state = super().forward(x, state)
        return y * 1.1 if torch.compiler.is_compiling() else y, state


class InitializesUnseeded(Leaky):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        with torch.no_grad():
            self.leak.fill_(random.SystemRandom().random())


class HidesItsMatrix(Leaky):
    def macs(self) -> int:
        return 2 * self.leak.numel()


class CostsAFraction(Leaky):
    def macs(self) -> int:
        return super().macs() / 1  # type: ignore[return-value]


class LearnsADeadParameter(Leaky):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.unused = nn.Parameter(torch.ones(dim))


# Attentions


class SeesOneTooFew(Window):
    def forward(self, queries: Tensor, source: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        self.memory -= 1
        try:
            return super().forward(queries, source, state) if self.memory else (source, state)
        finally:
            self.memory += 1


class SeesOneTooMany(Window):
    def forward(self, queries: Tensor, source: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        self.memory += 1
        try:
            return super().forward(queries, source, state)
        finally:
            self.memory -= 1


class TrimsOncePerChunk(Window):
    """As the first implementation did: within a chunk a query sees all that the chunk began with."""

    def forward(self, queries: Tensor, source: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        memory, self.memory = self.memory, len(state.memory) + len(source)
        try:
            y, _ = super().forward(queries, source, state)
        finally:
            self.memory = memory
        keys = torch.cat([state.memory, source])
        return y, WindowState(keys[max(0, len(keys) - memory + 1) :])


class AlignsItsMaskTopLeft(Window):
    """`is_causal=True` in front of a memory: query 0 sees key 0 and no more."""

    def forward(self, queries: Tensor, source: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        keys = torch.cat([state.memory, source])
        q, k = self.query(queries).transpose(0, 1), keys.transpose(0, 1)
        y = F.scaled_dot_product_attention(q, k, k, is_causal=True).transpose(0, 1)
        return y, super().forward(queries, source, state)[1]


class NeverTrims(Window):
    def forward(self, queries: Tensor, source: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        return super().forward(queries, source, state)[0], WindowState(torch.cat([state.memory, source]))


class TrimsByNegativeIndex(Window):
    """keys[-(memory - 1):], which at memory 1 is all of them."""

    def forward(self, queries: Tensor, source: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        y, _ = super().forward(queries, source, state)
        return y, WindowState(torch.cat([state.memory, source])[-(self.memory - 1) :])


class AttendsToEmptySlots(Window):
    """Its memory starts full of zeros, which take their share of the softmax."""

    def initial_state(self, batch: int) -> WindowState:
        return WindowState(self.query.weight.new_zeros(self.memory - 1, batch, self.query.in_features))


class CostsTheSameAtAnyMemory(Window):
    def macs(self) -> int:
        return self.query.weight.numel()


# Feed-forwards


class LooksAtItsNeighbor(TwoLayers):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0.1 * torch.cat([torch.zeros_like(x[:1]), x[:-1]])


class DropsInEvaluation(TwoLayers):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(super().forward(x), self.dropout, training=True)


class IgnoresItsDropout(TwoLayers):
    def __init__(self, dim: int, dropout: float = 0.0) -> None:
        super().__init__(dim)


class DropsUncalled(TwoLayers):
    """Drops in training whatever its argument says."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.dropout(x, 0.1, self.training))


class DrawsUnseeded(TwoLayers):
    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.dropout:
            source = torch.Generator().manual_seed(random.SystemRandom().randrange(2**31))
            x = x * (torch.rand(x.shape, generator=source) > self.dropout)
        return super().forward(x)


class DropsByPlaceInTheBatch(TwoLayers):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.dropout(x, self.dropout, self.training))


class FoldsWrong(Gained):
    def fold(self) -> Self:
        folded = copy.deepcopy(self)
        folded.gains = nn.Parameter(self.gains.detach()[:1])
        return folded


class FoldsNothing(Gained):
    def fold(self) -> Self:
        return copy.deepcopy(self)


class FoldsItself(Gained):
    def fold(self) -> Self:
        self.gains = nn.Parameter(self.gains.detach().prod(0, keepdim=True))
        return self


# Blocks


class LosesTheMemory(Residual):
    def forward(self, x: Tensor, state: ResidualState) -> tuple[Tensor, ResidualState]:
        y, end = super().forward(x, state)
        return y, ResidualState(end.core, self.initial_state(x.shape[1]).attention)


class KeepsANormForNoAttention(Residual):
    def __init__(
        self,
        dim: int,
        core: Callable[[int], Any],
        attention: Callable[[int], Any] | None = None,
        feedforward: Callable[[int], Any] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(dim, core, attention, feedforward, dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, state: ResidualState) -> tuple[Tensor, ResidualState]:
        return super().forward(self.norm(x) if self.attention else x, state)


@dataclass(frozen=True)
class Mutant:
    """A broken part, the law that has to catch it, and the honest part it was made from."""

    part: Callable[..., nn.Module]
    kind: str
    law: str

    @property
    def __name__(self) -> str:
        return self.part.__name__

    @property
    def honest(self) -> Callable[..., nn.Module]:
        return self.part.__mro__[1]  # type: ignore[attr-defined, no-any-return]


MUTANTS = [
    Mutant(AnswersInFloat32, "core", "shape and dtype"),
    Mutant(PromotesItsState, "core", "shape and dtype"),
    Mutant(ForgetsBetweenChunks, "core", "streaming"),
    Mutant(ReturnsTheStateItWasGiven, "core", "streaming"),
    Mutant(NormalizesOverTheChunk, "core", "streaming"),
    Mutant(PeeksOneAhead, "core", "causality"),
    Mutant(SubtractsTheBatchMean, "core", "batch independence"),
    Mutant(WritesIntoItsState, "core", "purity"),
    Mutant(WritesIntoItsInput, "core", "purity"),
    Mutant(RemembersOnItself, "core", "purity"),
    Mutant(CountsItsCalls, "core", "purity"),
    Mutant(CountsInABuffer, "core", "purity"),
    Mutant(CountsInItsState, "core", "state"),
    Mutant(LanesInTheWrongPlace, "core", "state"),
    Mutant(StartsOnTheCPU, "core", "state"),
    Mutant(KeepsTheWholePast, "core", "bounded state"),
    Mutant(DropsTheGradientOfItsLeak, "core", "every parameter learns"),
    Mutant(LearnsADeadParameter, "core", "every parameter learns"),
    Mutant(CutsTheGradientThroughTime, "core", "gradients are true"),
    Mutant(HalvesInFloat32, "core", "gradients are true"),
    Mutant(CancelsInBfloat16, "core", "bfloat16 stays near"),
    Mutant(InitializesUnseeded, "core", "same seed same part"),
    Mutant(HidesItsMatrix, "core", "cost"),
    Mutant(CostsAFraction, "core", "cost"),
    Mutant(BehavesWhileCompiled, "core", "compiled is eager"),
    Mutant(SeesOneTooFew, "attention", "window"),
    Mutant(SeesOneTooMany, "attention", "window"),
    Mutant(TrimsOncePerChunk, "attention", "streaming"),
    Mutant(AlignsItsMaskTopLeft, "attention", "streaming"),
    Mutant(NeverTrims, "attention", "bounded state"),
    Mutant(TrimsByNegativeIndex, "attention", "memory of one"),
    Mutant(AttendsToEmptySlots, "attention", "long memory"),
    Mutant(CostsTheSameAtAnyMemory, "attention", "cost"),
    Mutant(LooksAtItsNeighbor, "feedforward", "position wise"),
    Mutant(DropsInEvaluation, "feedforward", "noise is for training"),
    Mutant(IgnoresItsDropout, "feedforward", "noise is for training"),
    Mutant(DropsUncalled, "feedforward", "train is eval without noise"),
    Mutant(DrawsUnseeded, "feedforward", "same seed same part"),
    Mutant(DropsByPlaceInTheBatch, "feedforward", "noise follows the sequence"),
    Mutant(FoldsWrong, "feedforward", "folding"),
    Mutant(FoldsNothing, "feedforward", "folding"),
    Mutant(FoldsItself, "feedforward", "folding"),
    Mutant(LosesTheMemory, "block", "streaming"),
    Mutant(KeepsANormForNoAttention, "block", "every parameter learns"),
]

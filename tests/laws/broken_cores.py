"""Cores, each broken in one way."""

import itertools
import random
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rnnlab.components.cores.convolution import Convolution
from rnnlab.testing.small import Leaky, LeakyState


class AnswersInFloat32(Leaky):
    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        y, state = super().forward(x, state)
        return y.float(), state


class PromotesItsState(Leaky):
    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        y, state = super().forward(x, state)
        return y, LeakyState(state.h.double())


class CarriesWhatItMultiplied(Leaky):
    """Its state is in the dtype of its products, which autocast chooses."""

    def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
        y, state = super().forward(x, state)
        return y, LeakyState(state.h.to(self.input(x).dtype))


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


class ReadsANumberWhenBuilt(Leaky):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.scale = self.leak.mean().item()


class LearnsADeadParameter(Leaky):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.unused = nn.Parameter(torch.ones(dim))


class ReachesFurtherThanItSays(Convolution):
    def __init__(self, dim: int) -> None:
        super().__init__(dim, width=3)

    @property
    def reach(self) -> int:
        return self.width - 2


class SaysMoreThanItReaches(Convolution):
    def __init__(self, dim: int) -> None:
        super().__init__(dim, width=3)

    @property
    def reach(self) -> int:
        return self.width


class TellsHalfOfItsState(Leaky):
    def state_size(self) -> int:
        return self.leak.numel() // 2


class NamesAKnobThatTurnsNothing(Convolution):
    """Of width 1 it remembers nothing, however wide the model is."""

    state_knob = "dim"

    def __init__(self, dim: int) -> None:
        super().__init__(dim, width=1)

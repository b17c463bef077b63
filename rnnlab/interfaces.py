"""The slots of a model and what fits in them. Shapes are time-major; the letters are the same everywhere:

    T time in the chunk   B batch   D width   H heads   M remembered positions   F inner width   V vocabulary

A part is an `nn.Module` built as `part(dim, ...)`. Sequence parts take their state as an argument and return the next
one; they keep nothing between calls. Every state tensor has the batch at dimension -2 (see rnnlab.state).

Initialization: the model redraws every `nn.Linear` and `nn.Embedding` with its own `init_std` and zeroes their biases.
A part that owns its initialization, as recurrent cores do, holds `nn.Parameter`s instead.
"""

from collections.abc import Callable, Iterable
from typing import NewType, Protocol, TypeAlias, runtime_checkable

from torch import Tensor, nn

from rnnlab.state import State


@runtime_checkable
class Stateful(Protocol):
    """Anything that is carried over a sequence: cores, attentions, blocks, the model."""

    def initial_state(self, batch: int) -> State:
        """State before the first position, for a batch of that size, on the part's device and dtype."""

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """x (T, B, D), state -> y (T, B, D), next state. Any cut of the input gives the same y."""

    def macs(self) -> int:
        """Multiply-accumulates per position [MAC/position], with any memory full."""


@runtime_checkable
class Core(Stateful, Protocol):
    """Mixes along time with a state of fixed size: LSTM, QRNN, ..."""


@runtime_checkable
class StaysEager(Protocol):
    """A part that goes through a chunk position by position. Optional: torch.compile would write out every position, so
    `Trainer.compile` calls its forward as it is, and compiles what stands around it."""

    stays_eager: bool


@runtime_checkable
class HasForgetGate(Protocol):
    """A core that can say how fast it forgets. Optional: `rnnlab probe` draws it."""

    def retention(self, x: Tensor, state: State) -> Tensor:
        """x (T, B, D) -> (T, B, channels) in [0, 1]: what share of its state each channel keeps at each position."""


@runtime_checkable
class Attention(Protocol):
    """Looks back over a memory, which is its state. "No attention" is None, never a null class."""

    def initial_state(self, batch: int) -> State:
        """An empty memory, for a batch of that size."""

    def forward(self, queries: Tensor, source: Tensor, state: State) -> tuple[Tensor, State]:
        """queries (T, B, D) look at the memory and at source (T, B, D), which then enters the memory -> y (T, B, D)."""

    def macs(self) -> int:
        """Multiply-accumulates per position [MAC/position], with the memory full."""


@runtime_checkable
class HasAttentionWeights(Protocol):
    """An attention whose halves can be had apart: where it looks, and what it reads there. Optional: `rnnlab probe`
    draws the first, and `rnnlab export` runs both over a memory of fixed size. Its state is one tensor: past sources.
    """

    memory: int
    """Positions each query may see, itself included [positions]."""

    def weights(self, queries: Tensor, source: Tensor, memory: Tensor, hidden: Tensor) -> Tensor:
        """queries, source (T, B, D), memory (M', B, D), hidden (T, M' + T) bool -> (B, H, T, M' + T): what share of its
        attention each query gives to each position of the memory, then of source; none to what is hidden."""

    def read(self, weights: Tensor, source: Tensor, memory: Tensor) -> Tensor:
        """y (T, B, D) under those weights."""


@runtime_checkable
class HasInPlaceState(Protocol):
    """A part that can keep its state in place. Optional: generation asks for it, and nobody else holds that state."""

    def in_place(self, state: State) -> object:
        """What `forward` then takes, changes and gives back for `state`, a position at a time, without gradients."""


@runtime_checkable
class Block(Stateful, Protocol):
    """A layer: `wiring(dim, core, attention=None, feedforward=None, dropout=0.0)` of factories called `slot(dim)`;
    `dropout` is the block's own, what a slot drops is bound on the slot's part."""


@runtime_checkable
class FeedForward(Protocol):
    """Position-wise: forward(x (T, B, D)) -> (T, B, D)."""

    def forward(self, x: Tensor) -> Tensor:
        """x (T, B, D) -> y (T, B, D)."""

    def macs(self) -> int:
        """Multiply-accumulates per position [MAC/position]."""


@runtime_checkable
class HasReach(Protocol):
    """A part whose output depends on no input further back than it says. Optional: without it there is no bound."""

    @property
    def reach(self) -> int | None:
        """Positions back, its own not counted [positions]: memory - 1 of an attention; None if a slot has no bound."""


def reach_through(parts: Iterable[object]) -> int | None:
    """How far back the last of these parts depends on the input of the first, each reading the one before [positions]:
    the sum of their `reach`; None, no bound, if one has none."""
    total = 0
    for part in parts:
        reach = part.reach if isinstance(part, HasReach) else None
        if reach is None:
            return None
        total += reach
    return total


@runtime_checkable
class HasStateSize(Protocol):
    """A part whose state grows by a rule of its own. Optional: see `rnnlab.state_size` for what is counted without it,
    which is right for a state of fixed size and for one that grows to the part's `memory` - 1 positions."""

    def state_size(self) -> int:
        """Floats that the state of one sequence holds at most [floats]."""


@runtime_checkable
class HasStateKnob(Protocol):
    """A core or an attention that names what makes its state larger or smaller, in its class. Optional: without it
    `Ablation.match = 'state'` refuses to choose."""

    state_knob: str
    """An argument of its constructor, a number that the state grows with: `memory`, `key_width`; or `dim`, width D."""


@runtime_checkable
class Foldable(Protocol):
    """A part that computes with fewer parameters once training is over."""

    def fold(self) -> nn.Module:
        """An equivalent module for inference: same outputs in eval mode, same state, fewer parameters."""


@runtime_checkable
class HasPenalty(Protocol):
    """A part that asks for something beside the loss, as a short attention span. Optional: training adds it."""

    def penalty(self) -> Tensor:
        """[nats], a scalar that depends on parameters alone; no part of the loss and BPC that are told."""


@runtime_checkable
class TellsFigures(Protocol):
    """A part with something to tell while it learns. Optional: the journal has it as "figures", by part and name."""

    def figures(self) -> dict[str, float]:
        """Name, and a finite number."""


@runtime_checkable
class MeasuresParameters(Protocol):
    """An optimizer whose step depends on the length of a parameter. Optional: where `Trainer.unseen_logit` sets outputs
    apart, it is told so."""

    def measure_rows(self, params: Iterable[Tensor], rows: Tensor) -> None:
        """Take the lengths of those parameters, and of their updates, over these rows alone, bool (rows); the other
        rows are updated all the same."""


Slot: TypeAlias = Callable[..., nn.Module]
"""A factory for a part, called `slot(dim)`; what gin makes of `@core.LSTM`."""

Place = NewType("Place", str)
"""Type of an argument that says where a file lies. A relative one is relative to the file that binds it, or to the
working folder if the command line does. It is no part of what a configuration is: files may move."""

KINDS = ("core", "attention", "feedforward", "block", "task", "optimizer", "schedule", "corpus")
"""What can be registered; the first four stand in a model, and those and tasks obey the laws of `rnnlab check`."""

"""A part under test: how the laws build it, feed it and compare what it answers.

The laws never ask which part they hold. They ask its signature for what can be varied (`memory`, whatever is named like
dropout) and call it through its kind, so that a core, an attention, a feed-forward and a filled block read the same.
"""

import copy
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypeAlias

import torch
from torch import Tensor, nn

from rnnlab import rng
from rnnlab.errors import LawError
from rnnlab.state import State, leaves, map_state
from rnnlab.testing import rounding
from rnnlab.testing.law import part_name

ModuleFactory: TypeAlias = Callable[..., nn.Module]
"""What the laws of modules take: a class, a `functools.partial` or any function, called `part(dim, ...)`."""

Inputs: TypeAlias = tuple[Tensor, ...]
"""What a part reads besides its state: (x,), or (queries, source) for an attention; each (T, B, D)."""

MEMORY = 5
"""Remembered positions where a law does not vary them [positions]: shorter than the longest case, so windows slide."""

NOISE_WORDS = ("drop", "zoneout", "noise")
"""An argument with one of these in its name makes training random and is 0 unless a law says otherwise."""

DROPOUT_WORD = "drop"
"""Marks the noise that evaluation leaves out altogether; zoneout, for one, stays as its expectation."""

TOLERANCE = 1e-9
"""Largest difference that counts as the same in float64, relative to the largest value or 1: 10^7 roundings."""


@dataclass(frozen=True)
class Setting:
    """The setting in which a law is tried; laws go from small to large, so the first that fails is the one to debug."""

    T: int
    B: int
    dim: int
    dtype: torch.dtype = torch.float64
    seed: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        arguments = "".join(f", {name}={value}" for name, value in self.arguments.items())
        return f"T={self.T}, B={self.B}, dim={self.dim}{arguments}, {str(self.dtype)[6:]}, seed={self.seed}"


@dataclass(frozen=True)
class Subject:
    """A part, the kind of slot it fills and the width it is tried at."""

    part: ModuleFactory
    kind: str
    dim: int = 16
    seed: int = 0

    def __str__(self) -> str:
        return f"dim={self.dim}, seed={self.seed}"

    @property
    def has_memory(self) -> bool:
        """Whether the constructor takes `memory`, the positions each query may see."""
        return "memory" in _arguments(self.part)

    @property
    def noises(self) -> list[str]:
        """Constructor arguments that make training random."""
        return [name for name in _arguments(self.part) if any(word in name for word in NOISE_WORDS)]

    def case(
        self, T: int, B: int, dtype: torch.dtype = torch.float64, *, dim: int | None = None, **arguments: Any
    ) -> "Case":
        """The part built for one setting, in eval mode, its parameters moved off special values that they start at."""
        setting = Setting(T, B, dim or self.dim, dtype, self.seed, arguments)
        module = self.build(setting)
        noise = rng.generator(setting.seed, 0, "jitter")
        with torch.no_grad():
            for parameter in module.parameters():  # a gate or gain that starts at 0 would hide what lies behind it
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise).to(parameter))
        return Case(self, setting, module)

    def build(self, setting: Setting) -> nn.Module:
        """The part as its constructor makes it under the setting's seed, in eval mode."""
        settings = dict.fromkeys(self.noises, 0.0) | ({"memory": MEMORY} if self.has_memory else {})
        torch.manual_seed(setting.seed)
        try:
            module = self.part(setting.dim, **(settings | dict(setting.arguments)))
        except Exception as error:
            raise LawError(f"it cannot be built: {type(error).__name__}: {error} ({setting})") from error
        return module.to(setting.dtype).eval()


@dataclass(frozen=True)
class Case:
    """A part built for one setting, with the verbs the laws are written in."""

    subject: Subject
    setting: Setting
    module: nn.Module

    def inputs(self, purpose: str = "input", T: int | None = None) -> Inputs:
        """Standard normal inputs; equal purposes give equal inputs."""
        source = rng.generator(self.setting.seed, 0, purpose)
        shape = (self.setting.T if T is None else T, self.setting.B, self.setting.dim)
        count = 2 if self.subject.kind == "attention" else 1
        draws = (torch.randn(shape, generator=source, dtype=torch.float64) for _ in range(count))
        return tuple(draw.to(self.setting.dtype) for draw in draws)

    def start(self, batch: int | None = None) -> State:
        """The part's own initial state; None for a feed-forward."""
        if self.subject.kind == "feedforward":
            return None
        return self.module.initial_state(self.setting.B if batch is None else batch)  # type: ignore[operator]

    def warm(self) -> State:
        """The state after a few positions that no case contains."""
        return self.run(self.inputs("warm-up", T=3), self.start())[1]

    def run(self, inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """y, next state."""
        if self.subject.kind == "feedforward":
            return self.module(*inputs), None
        answer = self.module(*inputs, state)
        if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[0], Tensor)):
            self.refuse(f"forward returned a {type(answer).__name__}; it returns (y, next state)")
        return answer

    def run_cut(self, inputs: Inputs, state: State, cut: Sequence[int]) -> tuple[Tensor, State]:
        """The same in pieces of the given lengths, the state carried from one to the next."""
        pieces = []
        for chunk in zip(*(torch.split(tensor, list(cut)) for tensor in inputs), strict=True):
            y, state = self.run(chunk, state)
            pieces.append(y)
        return torch.cat(pieces), state

    def with_module(self, module: nn.Module) -> "Case":
        """The same case put to another module: a folded one, a compiled one."""
        return replace(self, module=module)

    def in_double(self) -> "Case":
        """The same module in float64, with the parameters of this one."""
        setting = replace(self.setting, dtype=torch.float64)
        return replace(self, setting=setting, module=copy.deepcopy(self.module).double())

    @functools.cached_property
    def tolerance(self) -> float:
        """Largest difference that counts as the same, relative to the largest value or 1: roundings of both sides."""
        if self.setting.dtype == torch.float64:
            return TOLERANCE
        exact, given = self.in_double(), (self.inputs(), self.warm())
        inputs, state = map_state(lambda leaf: leaf.double() if leaf.is_floating_point() else leaf, given)

        def compute() -> dict[str, Tensor]:
            y, end = exact.run(inputs, state)
            return {"y": y} | {path: leaf for path, leaf in leaves(end) if leaf.is_floating_point()}

        moved = rounding.expected(compute, self.setting.dtype)
        bounds = zip(moved.values, moved.allowed, strict=True)
        return 2 * max(bound / max(1.0, float(value.abs().max())) for value, bound in bounds if value.numel())

    def agree(self, got: Tensor, want: Tensor, claim: str, tolerance: float | None = None) -> None:
        """Raises: LawError with the claim, the largest error and where it first shows, unless the two are the same."""
        if got.shape != want.shape:
            self.refuse(f"{claim}: the shapes are {tuple(got.shape)} and {tuple(want.shape)}")
        if got.numel() == 0:
            return
        error = (got.double() - want.double()).abs()
        bound = self.tolerance if tolerance is None else tolerance
        broken = ~(error <= bound * max(1.0, float(want.abs().max())))  # written so that a NaN counts as broken
        if broken.any():
            first = int(broken.nonzero()[0, 0]) if broken.dim() else 0
            self.refuse(f"{claim}: they differ by {float(error.max()):.1e}, first at index {first} of dimension 0")

    def states_agree(self, got: State, want: State, claim: str, tolerance: float | None = None) -> None:
        """`agree`, for every tensor of two states of one structure."""
        ours, theirs = dict(leaves(got)), dict(leaves(want))
        if ours.keys() != theirs.keys():
            self.refuse(f"{claim}: the states hold {sorted(ours)} and {sorted(theirs)}")
        for path, tensor in ours.items():
            self.agree(tensor, theirs[path], f"{claim} ({path})", tolerance)

    def refuse(self, violation: str) -> NoReturn:
        """Raises: LawError with the violation and the case."""
        raise LawError(f"{violation} ({self.setting})")


def kind_of(part: ModuleFactory, dim: int = 16) -> str:
    """The kind a part looks like, by its slots or its forward. Raises: LawError if like none, or not to be built."""
    if {"core", "attention"} <= set(_arguments(part)):
        return "block"
    try:
        with torch.random.fork_rng(devices=[]):
            taken = len(inspect.signature(part(dim).forward).parameters)
    except Exception as error:
        raise LawError(f"{part_name(part)} cannot be built: {type(error).__name__}: {error} (dim={dim})") from error
    kind = {1: "feedforward", 2: "core", 3: "attention"}.get(taken)
    if kind is None:
        raise LawError(
            f"{part_name(part)}.forward takes {taken} arguments; a part takes (x), (x, state) or an attention's three"
        )
    return kind


def _arguments(part: ModuleFactory) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(part).parameters

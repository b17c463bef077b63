"""Learning-rate schedules: a factor on the learning rate for every step, a function of where the run stands."""

import math
from dataclasses import dataclass

from rnnlab.errors import ConfigError
from rnnlab.registry import register


@dataclass(frozen=True)
class Schedule:
    """Factor on the learning rate: a linear warm-up counted in steps, times `decay`, a function of the budget spent.

    It keeps nothing: the same arguments give the same factor, in a resumed run as in one that was left alone.

    Args:
        warmup: steps over which the factor rises to `decay`, >= 0 [steps].
    Raises: ConfigError if warmup is negative.
    """

    warmup: int = 0

    def __post_init__(self) -> None:
        if self.warmup < 0:
            raise ConfigError(f"{type(self).__name__}.warmup = {self.warmup}: 0 or more [steps]")

    def __call__(self, step: int, progress: float, pass_start: int = 0) -> float:
        """Factor for the step that comes after `step` others.

        Args:
            step: steps taken since the run began [steps].
            progress: share of the budget spent before this step [fraction], in [0, 1].
            pass_start: `step` at which the present pass began, from where warm-up counts [steps].
        """
        warm = min(1.0, (step - pass_start + 1) / self.warmup) if self.warmup else 1.0
        return warm * self.decay(min(progress, 1.0))

    def decay(self, progress: float) -> float:
        """What is left of the learning rate at `progress`, warm-up aside."""
        return 1.0

    def pass_of(self, progress: float) -> int:
        """Which pass over the budget this is; where it rises, the trainer makes the optimizer anew."""
        return 0


@register("schedule")
@dataclass(frozen=True)
class Constant(Schedule):
    """The same learning rate throughout."""


@dataclass(frozen=True)
class _Decay(Schedule):
    """A schedule that falls to the factor `final` by the end of the budget; final is in [0, 1]."""

    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.final <= 1.0:
            raise ConfigError(f"{type(self).__name__}.final = {self.final}: in [0, 1], the last factor")


@register("schedule")
@dataclass(frozen=True)
class Linear(_Decay):
    """Down to `final` times the learning rate along a straight line."""

    def decay(self, progress: float) -> float:
        return 1.0 - (1.0 - self.final) * progress


@register("schedule")
@dataclass(frozen=True)
class Cosine(_Decay):
    """Down to `final` times the learning rate along half a cosine.

    Source: Loshchilov & Hutter 2016, arXiv:1608.03983, equation 5, without restarts.
    """

    def decay(self, progress: float) -> float:
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * progress))


@register("schedule")
@dataclass(frozen=True)
class TwoPass(Schedule):
    """The paper's: constant, then a second pass at half the rate with a fresh optimizer and another warm-up.

    Source: Merity 2019, arXiv:1911.11423, section 4.
    Args:
        warmup: of each pass [steps].
        switch: share of the budget after which the second pass begins [fraction], in (0, 1]; 1 for never.
        factor: on the learning rate in the second pass, > 0.
    Raises: ConfigError if an argument is out of its range.
    """

    warmup: int = 800
    switch: float = 0.85
    factor: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.switch <= 1.0:
            raise ConfigError(f"TwoPass.switch = {self.switch}: in (0, 1], a share of the budget")
        if not self.factor > 0.0:
            raise ConfigError(f"TwoPass.factor = {self.factor}: more than 0")

    def decay(self, progress: float) -> float:
        return self.factor if self.pass_of(progress) else 1.0

    def pass_of(self, progress: float) -> int:
        return int(self.switch <= progress and self.switch < 1.0)

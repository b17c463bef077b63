"""Where a step's time goes: the spans of the learner, and hooks on the parts of its model."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from rnnlab.speed.stopwatch import Clock, Spread
from rnnlab.training.learner import Learner

SLOTS = {"core": "core", "attention": "attention", "feedforward": "feed-forward"}
"""Attributes of a block that hold its parts, and what their time is called."""

LABELS = (*SLOTS.values(), "wiring", "head", "optimizer", "data", "rest")


class _Timeline:
    """Gives every stretch of time to the part that runs in it."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._label, self._since = clock, "rest", clock()
        self.seconds: dict[str, float] = defaultdict(float)

    def switch(self, label: str) -> None:
        now = self._clock()
        self.seconds[self._label] += now - self._since
        self._label, self._since = label, now

    @contextmanager
    def span(self, label: str) -> Iterator[None]:
        """In place of the learner's own."""
        self.switch(label if label in LABELS else "rest")
        try:
            yield
        finally:
            self.switch("rest")


def split(learner: Learner, clock: Clock, repeats: int) -> dict[str, Spread]:
    """Seconds of a step by part, forward and backward together: {"core": ..., "optimizer": ..., ...}.

    Empty where the step is compiled or recorded: it has no parts then that could be told apart from outside.
    """
    if learner.trainer.compile or learner.trainer.cuda_graph:
        return {}
    model, span, steps = learner.model, learner.span, []
    for _ in range(repeats):
        timeline = _Timeline(clock)
        handles = _watch(model, "head", "rest", timeline)
        for block in model.blocks:
            handles += _watch(block, "wiring", "head", timeline)
            for slot, label in SLOTS.items():
                if isinstance(part := getattr(block, slot, None), nn.Module):
                    handles += _watch(part, label, "wiring", timeline)
        learner.span = timeline.span
        try:
            learner.step()
            timeline.switch("end")
        finally:
            for handle in handles:
                handle.remove()
            learner.span = span
        steps.append(timeline.seconds)
    return {label: Spread.of([step[label] for step in steps]) for label in LABELS if any(label in s for s in steps)}


def _watch(module: nn.Module, label: str, outside: str, timeline: _Timeline) -> list[Any]:
    """Between entering and leaving the module, forward and backward, the time is `label`'s; else it is `outside`'s."""

    def on_gradient(x: object, name: str) -> None:
        if isinstance(x, Tensor) and x.requires_grad:
            x.register_hook(lambda gradient: timeline.switch(name))  # type: ignore[no-untyped-call]

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        for x in inputs:
            on_gradient(x, outside)
        timeline.switch(label)

    def leave(module: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
        on_gradient(outputs[0] if isinstance(outputs, tuple) else outputs, label)
        timeline.switch(outside)

    return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

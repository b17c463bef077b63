"""Seconds by one clock or another, and what repeated measurements of one thing came to."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

Clock = Callable[[], float]


@dataclass(frozen=True)
class Spread:
    """What repeated measurements of one thing came to."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


def clock_of(device: torch.device, cpu_time: bool) -> Clock:
    """Seconds; on a GPU once it has done what it was asked to."""
    if device.type == "cuda":

        def synchronized() -> float:
            torch.cuda.synchronize(device)
            return time.perf_counter()

        return synchronized
    return time.process_time if cpu_time else time.perf_counter


def alternate(contenders: dict[str, Callable[[], object]], repeats: int, clock: Clock) -> dict[str, list[float]]:
    """Seconds that each contender took, `repeats` times in turns, after one turn that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, run in contenders.items():
            start = clock()
            run()
            if turn:
                seconds[name].append(clock() - start)
    return seconds


def ratio(slower: Sequence[float], faster: Sequence[float]) -> Spread:
    """How many times as long one takes as the other, turn by turn."""
    return Spread.of([a / b for a, b in zip(slower, faster, strict=True)])

"""A plan for the machine at hand: a few steps of the very run, timed."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from rnnlab.config import Config
from rnnlab.data.source import Source
from rnnlab.planning.shadow import evaluation_chunk
from rnnlab.speed.bench import fill_memory
from rnnlab.speed.stopwatch import Clock, clock_of
from rnnlab.training.experiment import build
from rnnlab.training.learner import Learner, peak_memory_mb
from rnnlab.training.threads import choose_threads, using_threads

STEPS = 3  # that are timed, after one that is not; the fastest counts
PATIENCE = 20.0  # [s] after which no further step is begun


@dataclass(frozen=True)
class Measured:
    """What steps took here."""

    step: float  # [s]
    scoring: float  # [s] a byte of an evaluation
    peak: int  # [bytes] that the process held, or a GPU for it
    device: str
    threads: int
    checkpoint: int  # [bytes] of tensors


def measure(config: Config, source: Source, steps: int = STEPS) -> Measured:
    """Train a few steps, and score a chunk, with the memory full. Nothing is written.

    Args:
        steps: that are timed, after one that is not.
    Raises: ConfigError, DataError, Diverged as training does.
    """
    experiment = build(config, needs_source=False)
    experiment.source = source
    threads = choose_threads(experiment)
    with using_threads(threads):
        learner = Learner(experiment)
        clock = clock_of(learner.device, cpu_time=False)
        fill_memory(learner)
        learner.step()
        step = _fastest(learner.step, clock, steps)
        evaluate, scored = evaluation_chunk(learner)
        scoring = _fastest(evaluate, clock, steps) / scored
    checkpoint = sum(tensor.nbytes for tensor in learner.snapshot().tensors.values())
    peak = int(peak_memory_mb(learner.device) * 2**20)
    return Measured(step, scoring, peak, str(learner.device), threads, checkpoint)


def _fastest(run: Callable[[], object], clock: Clock, times: int) -> float:
    """[s]; others on the machine can only make it slower."""
    began, seconds = time.monotonic(), list[float]()
    while len(seconds) < times and (not seconds or time.monotonic() - began < PATIENCE):
        start = clock()
        run()
        seconds.append(clock() - start)
    return min(seconds)

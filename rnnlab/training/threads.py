"""How many threads a run computes with on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rnnlab.training.experiment import Experiment
from rnnlab.training.recipe import MOST_THREADS

WORK = 8_000_000
"""[multiply-accumulates] of one position over the whole batch that are worth a thread: with less, threads wait for each
other longer than they compute, and on a busy machine a hundred times as long."""


def choose_threads(experiment: Experiment, recorded: object = None) -> int:
    """What the recipe binds; or `recorded`, the "threads" of a run's environment.json, since another number gives other
    bits; or as many as the work of a position is worth, and at most those that the process may use (OMP_NUM_THREADS).
    """
    trainer = experiment.trainer
    if trainer.threads is not None:
        return trainer.threads
    if isinstance(recorded, int) and 1 <= recorded <= MOST_THREADS:
        return recorded
    if trainer.torch_device().type != "cpu":
        return torch.get_num_threads()
    return max(1, min(torch.get_num_threads(), experiment.model.macs() * trainer.batch_size // WORK))


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Compute with so many threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

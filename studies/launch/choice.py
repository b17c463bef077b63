"""Which launcher a study is given, and how many of its runs are under way at a time."""

from pathlib import Path

import torch

from rnnlab.errors import ConfigError
from rnnlab.studies.launch.launcher import Launcher
from rnnlab.studies.launch.pool import Pool, worker_environments
from rnnlab.studies.launch.slurm.pool import SlurmPool
from rnnlab.studies.launch.slurm.request import SlurmRequest


def launcher(study: Path, device: torch.device, workers: int | None, slurm: SlurmRequest | None) -> Launcher:
    """For the study in this folder.

    Args:
        device: of its runs.
        workers: local processes; see `rnnlab.studies.launch.pool.worker_environments`.
        slurm: what the jobs of a cluster ask for; None for local processes.
    Raises: ConfigError for both, or a number that cannot be.
    """
    if slurm is None:
        return Pool(worker_environments(workers, device), study)
    if workers is not None:
        raise ConfigError(
            "--workers counts processes of this machine; with --slurm, array-parallelism=K in its options does"
        )
    return SlurmPool(study, slurm)


def at_a_time(device: torch.device, workers: int | None, slurm: SlurmRequest | None, runs: int) -> int:
    """How many of so many runs are under way side by side; on a cluster, if it has room. Raises: as `launcher`."""
    if slurm is None:
        return len(worker_environments(workers, device))
    return slurm.at_a_time or max(1, runs)

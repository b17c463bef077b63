"""What a worker of an ablation does: train one cell, a variant with a seed."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from rnnlab import config
from rnnlab.errors import Diverged
from rnnlab.studies.launch.run import train_run
from rnnlab.training import experiment


def run_cell(job: dict[str, Any]) -> None:
    """Train the cell, or go on with it.

    Args:
        job: "config", a file with the resolved variant; "seed"; "folder" of the run; "variant", its name.
    Raises: what training raises; that it diverged is a result and no error.
    """
    cell = config.load(job["config"]).override([f"Trainer.seed = {job['seed']}"])
    with suppress(Diverged):
        train_run(experiment.build(cell), Path(job["folder"]), variant=job["variant"])

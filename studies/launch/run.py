"""One training run of a study: started, continued, or taken over from the folder of a worker that died."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rnnlab import config
from rnnlab.config import identity
from rnnlab.errors import ConfigError, Diverged, StorageError, reporting_out_of_memory
from rnnlab.storage.durable import storage_errors
from rnnlab.storage.runfolder import CONFIG, METRICS, RunFolder
from rnnlab.studies.launch.launcher import Check, Job
from rnnlab.training.experiment import Experiment, build, check_source
from rnnlab.training.ranks import ALONE
from rnnlab.training.run import Watch, create, held, train_in


def train_job(job: Job, check: Check) -> None:
    """Train the run that a job describes, in a worker: see `rnnlab.studies.launch.worker`.

    Args:
        job: "config", a file with the resolved configuration; "seed"; "folder" of the run; "variant", its name;
            "test", whether it is tested at the end.
        check: raises Stopped if a signal has come; the training loop looks for itself.
    Raises: what training raises; that a run diverged is a result and no error.
    """
    check()
    resolved = config.load(job["config"]).override([f"Trainer.seed = {job['seed']}"])
    with suppress(Diverged), reporting_out_of_memory():
        train_run(build(resolved), Path(job["folder"]), variant=job["variant"], test=job.get("test", True))


def train_run(
    built: Experiment,
    path: Path,
    watch: Watch | None = None,
    earlier: Sequence[Path] = (),
    variant: str | None = None,
    test: bool = True,
) -> dict[str, Any]:
    """Train what was built to the end of its budget, in the folder `path`.

    Args:
        watch: makes an observer that may save the loop it is given, and may raise Stopped to end the run.
        earlier: folders of the same experiment to take over from, the newest first.
        variant: what the seeds of one configuration share on TensorBoard's page.
        test: score the test split at the end.
    Returns: the result, as in result.json; at once if it is there already.
    Raises: Stopped and Diverged with a checkpoint written; ConfigError if the folder holds another run; RunHeldError
        if another process is at it; DataError, StorageError.
    """
    folder = _open(built, path, variant)
    with held(folder):
        if not folder.has_checkpoints() and finished(path) is None:
            _take_over(folder, earlier)
        return finished(path) or train_in(folder, built, watch=watch, test=test)


def finished(path: Path) -> dict[str, Any] | None:
    """The result of a run that came to its end, by its budget or by diverging; None of any other folder."""
    if not (path / CONFIG).is_file():
        return None
    result = RunFolder.open(path).result()
    return result if result is not None and result.get("status") in ("done", "diverged") else None


def _open(built: Experiment, path: Path, variant: str | None) -> RunFolder:
    if not (path / CONFIG).is_file():
        return create(path, built, ALONE, **({} if variant is None else {"variant": variant}))
    folder = RunFolder.open(path)
    if identity(folder.config_text) != identity(built.config.text):
        raise ConfigError(f"{path}: holds another run than this study puts there; choose another --run, or remove it")
    check_source(built, folder.corpus_sha)
    return folder


def _take_over(folder: RunFolder, earlier: Sequence[Path]) -> None:
    """Copy what the newest of the earlier folders has: its result, or its newest whole checkpoint with its journal.

    The worker it belongs to may be stopped rather than dead, and go on there later; so nothing is moved.
    """
    for path in earlier:
        if not (path / CONFIG).is_file():
            continue
        source = RunFolder.open(path)
        try:
            snapshot = source.newest()
        except StorageError:  # nothing whole in it
            continue
        if (source.config_sha, source.corpus_sha) != (folder.config_sha, folder.corpus_sha):
            continue
        with storage_errors(f"{folder.path}: cannot take over from {path}"):
            if (path / METRICS).exists():
                shutil.copyfile(path / METRICS, folder.path / METRICS)
        folder.save(snapshot)
        if (result := finished(path)) is not None:
            folder.write_result(result)
        return

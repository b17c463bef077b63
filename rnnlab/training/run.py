"""The one life of a run: its folder is made, held and restored, and it is trained to its end while observers look on.

    folder = create(path, built)
    with held(folder):
        result = train_in(folder, built)        # from where the folder is: its newest checkpoint, or the beginning

`rnnlab.train`, `rnnlab.resume`, studies and `rnnlab import` all go through here.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from rnnlab.config import Config
from rnnlab.console import say
from rnnlab.errors import ConfigError, DataError, StorageError
from rnnlab.model import LanguageModel
from rnnlab.storage.metrics import Record
from rnnlab.storage.runfolder import RunFolder
from rnnlab.training.budget import budgets
from rnnlab.training.experiment import Experiment, build, check_source, environment
from rnnlab.training.learner import Learner
from rnnlab.training.loop import Loop, Observer, check_fit
from rnnlab.training.ranks import ALONE, Ranks
from rnnlab.training.recipe import Trainer
from rnnlab.training.threads import choose_threads, using_threads

Watch = Callable[[Loop], Observer]
"""Makes an observer that may save the loop it is given, and may raise Stopped to end the run."""


def create(path: Path | str | Callable[[], Path], built: Experiment, ranks: Ranks = ALONE, **facts: str) -> RunFolder:
    """The folder of a new run.

    Args:
        path: the folder, or what makes a new one once it is known that there will be a run.
        facts: what environment.json holds beside the machine: `variant`, what the seeds of a configuration share;
            `init`, the run whose weights it starts from; `imported`, the file that its weights come from.
    Raises: ConfigError if the folder holds a run, or nothing could be trained in it; DataError; StorageError.
    """
    check_fit(built, ranks)
    if "init" in facts:
        initialize(built.model, facts["init"])
    told = {**environment(built), "threads": choose_threads(built), **facts}
    return ranks.broadcast_from_rank0(
        lambda: RunFolder.create(path() if callable(path) else path, built.config.text, built.operative, told)
    )


def open_again(folder: RunFolder, resolved: Config) -> Experiment:
    """What a run was made of, with the text that it was trained on.

    Raises: ConfigError; DataError if the text is not there, or is another one.
    """
    built = None
    try:
        built = build(resolved)
        check_source(built, folder.corpus_sha)
    except DataError as error:
        if built is not None and built.source is not None and built.source.task is not None:
            raise
        raise DataError(f"{error}; where its text has moved, --corpus FILE says where to") from None
    return built


@contextmanager
def held(folder: RunFolder, ranks: Ranks = ALONE) -> Iterator[None]:
    """Rank 0 holds the folder for all. Raises: RunHeldError if another process does."""
    with ExitStack() as stack:

        def hold() -> None:
            stack.enter_context(folder.hold())

        ranks.broadcast_from_rank0(hold)
        yield


def train_in(
    folder: RunFolder,
    built: Experiment,
    *,
    ranks: Ranks = ALONE,
    original: Config | None = None,
    overrides: Sequence[str] = (),
    watch: Watch | None = None,
    test: bool = True,
) -> Record:
    """Go on from where a held folder is, to the end of the budget.

    Args:
        original: the configuration that the run began with, where `built` changes its budget: the schedule keeps the
            horizon of that one.
        overrides: what this resumption changes, to be noted.
        test: score the test split at the end.
    Returns: the result, as in result.json, with the folder under "run".
    Raises: Stopped, Diverged, with a checkpoint written; ConfigError, DataError, StorageError before the first step.
    """
    from rnnlab.views.board import BoardObserver  # imports TensorBoard's protocols, which only those who train wait for

    check_fit(built, ranks)
    with using_threads(choose_threads(built, folder.environment.get("threads"))):
        horizon = None if original is None else _horizon(built.trainer, original)
        loop = Loop(built, folder, horizon=horizon, ranks=ranks)
        _check_rate_lasts(loop.learner)
        snapshot = ranks.broadcast_from_rank0(lambda: folder.newest() if folder.has_checkpoints() else None)
        if snapshot is None and "imported" in folder.environment:
            raise StorageError(
                f"{folder.path}: has no checkpoint of the weights that were to be imported, so the import was cut "
                f"short; delete the folder and import {folder.environment['imported']} again"
            )
        if snapshot is None and "init" in folder.environment:
            initialize(built.model, folder.environment["init"])
        loop.restore(snapshot)
        loop.tests = test
        if overrides and loop.learner.fraction() >= 1.0 and ranks.first:
            bounds = ", ".join(f"{name} {bound:,}" for name, bound in budgets(built.trainer).items())
            say(f"{folder.path} is at the end of its budget ({bounds}): nothing more is trained")
        ranks.broadcast_from_rank0(lambda: folder.note_resumption(overrides))
        with BoardObserver(folder) if ranks.first else nullcontext() as board:
            loop.observers = [*([board] if board else []), *([watch(loop)] if watch else [])]
            return {**loop.run(), "run": str(folder.path)}


def initialize(model: LanguageModel, run: str) -> None:
    """Give a model another run's newest weights. Raises: ConfigError for the first that does not fit; StorageError."""
    theirs = RunFolder.open(run).newest().section("model")
    ours = model.state_dict()
    for name in sorted({*ours, *theirs}):
        here, there = (tuple(tensors[name].shape) if name in tensors else None for tensors in (ours, theirs))
        if here != there:
            raise ConfigError(
                f"--init {run}: {name} is {there or 'not there'} in that run and {here or 'not there'} in this model; "
                f"both need the same parts and sizes (`rnnlab diff` shows where they differ)"
            )
    model.load_state_dict(theirs)


def _horizon(trainer: Trainer, original: Config) -> Trainer:
    """The recipe with the budget that the run began with."""
    names = ("bytes", "steps", "epochs", "eval_every")
    return replace(trainer, **{name: original.value(f"Trainer.{name}") for name in names})


def _check_rate_lasts(learner: Learner) -> None:
    """Raises: ConfigError if a longer budget than the schedule's would be spent at a learning rate of 0."""
    planned = learner.budget_bytes(learner.horizon)
    if learner.budget_bytes() > planned and learner.schedule.decay(1.0) == 0.0:
        raise ConfigError(
            f"the schedule of this run brings its learning rate to 0 at {planned:,} bytes, the budget that it began "
            f"with, and what comes after would change nothing; start a new run with the longer budget"
        )

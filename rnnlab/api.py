"""What the command line does, as functions: `rnnlab.train`, `rnnlab.resume`, `rnnlab.load`, `rnnlab.evaluate`."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rnnlab import config
from rnnlab.console import say
from rnnlab.data import source
from rnnlab.data.corpora import open_split
from rnnlab.data.splits import Corpus, Split
from rnnlab.data.task_source import TaskSource
from rnnlab.errors import ConfigError
from rnnlab.evaluation import evaluate as _evaluate
from rnnlab.evaluation import examine
from rnnlab.model import LanguageModel
from rnnlab.scoring.order import ScoreFirst
from rnnlab.scoring.score import Score
from rnnlab.storage.checkpoint import Snapshot, check_same_experiment
from rnnlab.storage.runfolder import RunFolder, new_folder
from rnnlab.training import experiment
from rnnlab.training.dynamic import dynamic_forecaster, with_dynamic
from rnnlab.training.ranks import ranks
from rnnlab.training.run import create, held, open_again, train_in
from rnnlab.training.threads import choose_threads, using_threads


def train(
    fragments: str | Sequence[str],
    overrides: str | Sequence[str] = (),
    run: str | Path | None = None,
    init: str | Path | None = None,
) -> dict[str, Any]:
    """Train a configuration to the end of its budget.

    Args:
        fragments: one or several names under gin/ or paths of files: ["sha_rnn", "size/tiny", "core/qrnn"].
        overrides: one or several gin bindings: ["Block.dropout = 0.2"].
        run: the folder to make; None for a new one under runs/.
        init: a run of the same model whose weights it starts from; None for weights drawn from the seed.
    Returns: the result, as in result.json, with the folder under "run".
    Raises: ConfigError, DataError, StorageError before the first step; Diverged or Stopped with a checkpoint written.
    """
    if run == "":
        raise ConfigError("run = '': name a folder, or None for a new one under runs/")
    resolved = config.resolve(fragments, overrides)
    new = partial(new_folder, _run_name(fragments))
    facts = {} if init is None else {"init": os.path.abspath(init)}  # resumed from wherever
    with ranks() as among:
        built = experiment.build(resolved)
        folder = create(new if run is None else run, built, among, **facts)
        with held(folder, among):
            return train_in(folder, built, ranks=among)


MAY_CHANGE = ("bytes", "steps", "epochs", "device", "threads", "compile", "cuda_graph", "eval_every", "eval_bptt",
              "log_every", "save_every", "save_seconds", "keep")  # fmt: skip
"""What `resume` may set otherwise: arguments of Trainer that cannot change what has happened. How much an evaluation
scores is not among them: one curve has one protocol."""


def resume(run: str | Path, overrides: str | Sequence[str] = ()) -> dict[str, Any]:
    """Go on with a run from its newest whole checkpoint; bit for bit on the CPU.

    Args:
        run: the folder.
        overrides: bindings of the budget, logging, evaluation or device, and of where the text lies now, for this and
            every later resumption; they are added to resumed.gin. A schedule keeps the horizon of the budget that the
            run began with.
    Returns: the result, as `train` does.
    Raises: ConfigError if an override would change the past, or prolong a run whose learning rate comes to 0; DataError
        if the corpus has changed; StorageError if no checkpoint of this experiment is whole; RunHeldError.
    """
    folder = RunFolder.open(run)
    with ranks() as among, held(folder, among):
        original = folder.config()
        given = [overrides] if isinstance(overrides, str) else overrides
        overrides = [config.anchored(line, Path()) for line in given]  # they are read again, perhaps from elsewhere
        resumed = original.override(config.with_later(folder.resumed_with(), overrides))
        for difference in config.diff(original, resumed):
            if not _may_change(difference):
                raise ConfigError(
                    f"{difference.key} = {difference.right}: resuming cannot change it from {difference.left}, only "
                    f"Trainer.{', '.join(MAY_CHANGE)}; start a new run instead"
                )
        built = open_again(folder, resumed)
        return train_in(folder, built, ranks=among, original=original, overrides=overrides)


def _may_change(difference: config.Difference) -> bool:
    """Whether a resumption may: a text may lie elsewhere, since its hash has to be the old one."""
    return difference.is_place or difference.key in [f"Trainer.{name}" for name in (*MAY_CHANGE, "source")]


def _run_name(fragments: str | Sequence[str]) -> Path:
    names = [fragments] if isinstance(fragments, str) else fragments
    stem = "-".join(Path(fragment).stem for fragment in names)[:100]
    return Path("runs") / f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"


@dataclass(frozen=True)
class LoadedRun:
    """A run's model, in eval mode, and where it comes from."""

    experiment: experiment.Experiment
    folder: RunFolder
    snapshot: Snapshot

    @property
    def model(self) -> LanguageModel:
        return self.experiment.model


def load(
    run: str | Path,
    *,
    best: bool = False,
    device: str = "auto",
    needs_source: bool = False,
    dynamic: bool = False,
    overrides: str | Sequence[str] = (),
) -> LoadedRun:
    """The model of a run, from its newest checkpoint or its best.

    Args:
        needs_source: the text that the run was trained on has to be there.
        dynamic: with a rule for dynamic evaluation, by default `@Dynamic`; most take statistics of the text.
        overrides: bindings on top of the run's own that keep the names and shapes of parameters, such as of a memory.
    Raises: ConfigError if there is no such run; StorageError if no checkpoint is whole; DataError if a corpus that is
        needed cannot be opened, or is not the one that the run was trained on.
    """
    folder = RunFolder.open(run)
    resumed = folder.config().override([*folder.resumed_with(), f"Trainer.device = {device!r}"])
    given = [overrides] if isinstance(overrides, str) else list(overrides)
    configuration = resumed.override(with_dynamic(resumed.get("Trainer.dynamic"), given) if dynamic else given)
    built = open_again(folder, configuration) if needs_source else experiment.build(configuration, needs_source=False)
    if not needs_source and built.dynamic is not None and built.dynamic.needs_statistics and dynamic:
        built = open_again(folder, configuration)
    snapshot = folder.best() if best else folder.newest()
    check_same_experiment(snapshot, tensors={f"model/{name}": x for name, x in built.model.state_dict().items()})
    built.model.load_state_dict(snapshot.section("model"))
    built.model.eval()
    return LoadedRun(built, folder, snapshot)


def evaluate(
    run: str | Path,
    split: str = "test",
    *,
    best: bool = False,
    corpus: str | None = None,
    device: str = "auto",
    limit: int | None = None,
    at: Sequence[int] = (),
    dynamic: bool = False,
    overrides: str | Sequence[str] = (),
) -> Score:
    """How good a run is on a split of its source, or of another corpus, read with the run's own batch size and bptt:
    `.bpc` of a text; `.accuracy`, `.nats` and, at each difficulty, `.by` of a task.

    Args:
        split: train, valid, test, or all for the whole text; valid or test of a task.
        corpus: another text than the run's own; that it is another one is said on standard error.
        limit: score about the first so many bytes of the split [bytes]; None for all of it, of which a run with a small
            budget has scored a part (`valid_protocol` and `protocol` in result.json say how much).
        at: of a task, the difficulties to test at; none for its own.
        dynamic: let the model learn from what was scored, as `Dynamic` says, with its bptt in place of the run's.
        overrides: bindings of the rule, "Dynamic.rate = 1e-4".
    Raises: StorageError if the run cannot be loaded; ConfigError for what does not go with its source; DataError if the
        corpus cannot be opened, or is the run's own and has changed; Diverged if the loss is not finite.
    """
    if overrides and not dynamic:
        raise ConfigError("bindings of an evaluation are of the rule that it learns by; ask for dynamic evaluation too")
    loaded = load(run, best=best, device=device, needs_source=corpus is None, dynamic=dynamic, overrides=overrides)
    trainer = loaded.experiment.trainer
    scored = what_is_scored(loaded, split, corpus, at)
    with using_threads(choose_threads(loaded.experiment, loaded.folder.environment.get("threads"))):
        if dynamic:
            forecaster = dynamic_forecaster(loaded.experiment)
            return examine(
                ScoreFirst(forecaster), scored, batch_size=trainer.eval_batch_size, bptt=forecaster.rule.bptt,
                limit=limit, progress=True,
            )  # fmt: skip
        return _evaluate(
            loaded.model, scored, batch_size=trainer.eval_batch_size, bptt=trainer.eval_bptt, limit=limit,
            progress=True,
        )  # fmt: skip


def what_is_scored(loaded: LoadedRun, split: str, corpus: str | None = None, at: Sequence[int] = ()) -> source.Scorable:
    """A split of the run's own source or of another text, or test examples of its task at some difficulties.

    Raises: ConfigError if there is none such; DataError if the other text cannot be opened.
    """
    if at and (corpus is not None or split != "test"):
        raise ConfigError(
            f"--at {','.join(map(str, at))}: it takes test examples of the run's own task, no other split or corpus"
        )
    if corpus is not None:
        return text_of(loaded, split, corpus)
    own = loaded.experiment.source
    assert own is not None
    if not at:
        return own.split(split)
    if not isinstance(own, TaskSource):
        raise ConfigError(f"--at {','.join(map(str, at))}: {own.name} is a text, and has no difficulties")
    if min(at) < 1:
        raise ConfigError(f"--at {','.join(map(str, at))}: a difficulty is a whole number above 0")
    return own.at(at)


def text_of(loaded: LoadedRun, split: str, corpus: str | None) -> Split:
    """A split of the text that a run was trained on, or of another one.

    Raises: ConfigError for an unknown split, or if the run was trained on a task; DataError if the other one cannot be
        opened.
    """
    own = loaded.experiment.source
    if own is not None and not isinstance(own, Corpus):
        raise ConfigError(
            f"{loaded.folder.path} was trained on the task {own.name}, and this takes a model of a text; "
            f"`rnnlab eval {loaded.folder.path}` scores it on its task"
        )
    if corpus is None:
        assert own is not None
        return own.split(split)
    text = open_split(corpus, split)
    if text.file.sha256 != loaded.folder.corpus_sha:
        say(f"{corpus} is another text than the one that {loaded.folder.path} was trained on")
    return text


def resolve_any(name: str) -> config.Config:
    """The configuration of a run folder, or of fragments separated by commas."""
    path = Path(name)
    if (path / "config.gin").exists():
        return RunFolder.open(path).config()
    if path.is_dir():
        raise ConfigError(f"{name} is a folder without config.gin; name a run, or fragments separated by commas")
    return config.resolve([part for part in name.split(",") if part])

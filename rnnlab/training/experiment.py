"""From a configuration to the objects of a run."""

import os
import platform
import subprocess
import sys
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import rnnlab
from rnnlab import rng
from rnnlab.config import MODEL, Config
from rnnlab.data.source import Source
from rnnlab.data.splits import VOCABULARY, Corpus
from rnnlab.data.task_source import TaskSource
from rnnlab.errors import ConfigError, DataError
from rnnlab.evaluation import longest_memory
from rnnlab.interfaces import MeasuresParameters
from rnnlab.matmul import use_fast_products
from rnnlab.model import LanguageModel, count_parameters, fold, reach
from rnnlab.safe_text import as_utf8, hide_secrets
from rnnlab.scoring.dynamic import Dynamic
from rnnlab.shapes import without_numbers
from rnnlab.state_size import count_state
from rnnlab.task import Task
from rnnlab.training.groups import Group, grouped, split_groups
from rnnlab.training.online import Online
from rnnlab.training.recipe import Trainer
from rnnlab.training.schedules import Schedule


@dataclass
class Experiment:
    """What a configuration builds, freshly initialized from the trainer's seed."""

    config: Config
    operative: str  # the configuration to read: what took effect, and where each value came from
    trainer: Trainer
    model: LanguageModel  # on the trainer's device
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    source: Source | None  # None if it is a text that could not be opened and was not needed
    dynamic: Dynamic | None = None  # how it is scored as it goes on learning
    online: Online | None = None  # how it learns from a text that it codes


def build(
    config: Config, *, shapes_only: bool = False, needs_source: bool = True, coded: Source | None = None
) -> Experiment:
    """Assemble everything under `config`, and hold every binding to having had an effect.

    Args:
        shapes_only: build the model on the meta device, without numbers: all that `show` needs.
        needs_source: False to go on without a corpus that is not there.
        coded: learn from this in place of what the configuration names, as `Online` says; the CPU does it.
    Raises: ConfigError if there is no model, naming the binding that has no effect, or the part that refuses its
        value; DataError if the corpus is needed and cannot be opened.
    """
    if MODEL not in config.bindings:
        raise ConfigError(f"no model: nothing binds {MODEL}; name a root beside the other fragments, such as sha_rnn")
    use_fast_products()
    with config.activate():
        trainer: Trainer = config.construct("Trainer")
        device = torch.device("meta") if shapes_only else trainer.torch_device()
        dynamic = None if trainer.dynamic is None else trainer.dynamic()
        online = None if coded is None else config.construct("Online")
        if device.type == "cuda":
            torch.cuda.set_device(device)  # streams, graphs and Triton's kernels are the current device's
        try:
            source = coded or _source(config, trainer)
        except DataError:
            if needs_source:
                raise
            source = None
        torch.manual_seed(rng.derive(trainer.seed, 0, "initialization"))
        with without_numbers() if shapes_only else torch.device("cpu"):  # the same numbers whichever device trains
            vocabulary = VOCABULARY if source is None else source.vocabulary
            model: LanguageModel = config.construct("LanguageModel", vocabulary=vocabulary)
        model.to(device)
        optimizer = trainer.optimizer(model.named_parameters())
        split_groups(optimizer, model.named_parameters(), groups_of(model, trainer))
        schedule = trainer.schedule()
        if trainer.unseen_logit is not None and source is not None and not shapes_only:
            _start_unlikely(model, optimizer, source.unseen(), trainer.unseen_logit)
        config.audit()
        return Experiment(config, as_utf8(config.operative_text), trainer, model, optimizer, schedule, source,
                          dynamic, online)  # fmt: skip


def groups_of(model: LanguageModel, trainer: Trainer) -> list[Group]:
    """Which parameters the recipe decays, and at what share of the learning rate they learn. Raises: ConfigError."""
    return grouped(model.named_parameters(), trainer.weight_decay_on, trainer.lr_factors or {})


def _source(config: Config, trainer: Trainer) -> Source:
    """A text as it is; a task with as many examples as are bound, training's drawn by the run's seed."""
    given = trainer.source()
    if not isinstance(given, Task):
        return given
    return TaskSource(given, config.construct("TaskSplits"), trainer.seed)


def check_source(experiment: Experiment, sha256: str) -> None:
    """Raises: DataError if the source is not the one with this hash, on which the run has trained so far."""
    source = experiment.source
    assert source is not None
    if source.sha256 != sha256:
        what, remedy = (
            (source.train.file.path, "the old text")
            if isinstance(source, Corpus)
            else (f"the task {source.name}", "the code that made its examples")
        )
        raise DataError(
            f"{what} is not what the run trained on: its SHA-256 is {source.sha256[:12]}, and it was {sha256[:12]}; "
            f"bring {remedy} back, or start a new run"
        )


def _start_unlikely(
    model: LanguageModel, optimizer: torch.optim.Optimizer, lacking: torch.Tensor, logit: float
) -> None:
    """Train as if tokens that are never asked for, bool (V,), were no outputs: they start at `logit` [nats], and an
    optimizer that measures parameters leaves them out."""
    with torch.no_grad():
        model.output_bias[lacking] = logit
    if lacking.any() and isinstance(optimizer, MeasuresParameters):
        optimizer.measure_rows([model.embedding.weight, model.output_bias], ~lacking)


def describe(experiment: Experiment) -> dict[str, Any]:
    """What a model is, before it learns anything: sizes and costs."""
    model = experiment.model
    with without_numbers() if model.output_bias.is_meta else nullcontext():
        deployable = count_parameters(fold(model))
    return {
        "parameters": count_parameters(model),
        "parameters_deployable": deployable,
        "macs_per_byte": model.macs(),
        "state_floats": count_state(model),
        "layers": len(model.blocks),
        "dim": model.dim,
        "memory": longest_memory(model),
        "reach": reach(model),
        "vocabulary": model.vocabulary,
        "config_sha": experiment.config.sha,
    }


def environment(experiment: Experiment) -> dict[str, Any]:
    """On what a run runs: enough to tell why two runs of one configuration differ."""
    source, device = experiment.source, experiment.trainer.torch_device()
    on_gpu = device.type == "cuda"
    return {
        "rnnlab": rnnlab.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "gin-config", "numpy", "einops")},
        "platform": platform.platform(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if on_gpu else processor_name(),
        "commit": _commit(),
        "command": list(map(hide_secrets, sys.argv)),
        "corpus": None if source is None else source.name,
        "corpus_sha": None if source is None else source.sha256,
        **describe(experiment),
    }


def processor_name() -> str:
    """The model of the CPU, as Linux tells it; elsewhere the family that Python knows."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Of the checkout this package runs from; None for an installed wheel, and where git does not say."""
    here = Path(rnnlab.__file__).resolve().parent
    if not (here.parent / ".git").exists():
        return None
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # of a hook's repository
    with suppress(OSError, subprocess.SubprocessError):  # no git, or one that hangs on a slow disk
        said = subprocess.run(command, env=own, capture_output=True, text=True, timeout=10)
        return said.stdout.strip() or None
    return None

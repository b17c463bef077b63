"""From a configuration to the objects of a run."""

import os
import platform
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import rnnlab
from rnnlab import rng
from rnnlab.config import MODEL, Config
from rnnlab.data.splits import Corpus, Split
from rnnlab.errors import ConfigError, DataError
from rnnlab.evaluation import longest_memory
from rnnlab.interfaces import MeasuresParameters
from rnnlab.matmul import use_fast_products
from rnnlab.model import VOCABULARY, LanguageModel, count_parameters, fold
from rnnlab.safe_text import as_utf8, hide_secrets
from rnnlab.training.recipe import Trainer
from rnnlab.training.schedules import Schedule

COUNTED_AT_ONCE = 1 << 24  # [bytes]


@dataclass
class Experiment:
    """What a configuration builds, freshly initialized from the trainer's seed."""

    config: Config
    operative: str  # the configuration to read: what took effect, and where each value came from
    trainer: Trainer
    model: LanguageModel  # on the trainer's device
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    corpus: Corpus | None  # None if it could not be opened and was not needed


def build(config: Config, *, shapes_only: bool = False, needs_corpus: bool = True) -> Experiment:
    """Assemble everything under `config`, and hold every binding to having had an effect.

    Args:
        shapes_only: build the model on the meta device, without numbers: all that `show` needs.
        needs_corpus: False to go on without a corpus that is not there.
    Raises: ConfigError if there is no model, naming the binding that has no effect, or the part that refuses its
        value; DataError if the corpus is needed and cannot be opened.
    """
    if MODEL not in config.bindings:
        raise ConfigError(f"no model: nothing binds {MODEL}; name a root beside the other fragments, such as sha_rnn")
    use_fast_products()
    with config.activate():
        trainer: Trainer = config.construct("Trainer")
        device = torch.device("meta") if shapes_only else trainer.torch_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)  # streams, graphs and Triton's kernels are the current device's
        torch.manual_seed(rng.derive(trainer.seed, 0, "initialization"))
        with torch.device("meta" if shapes_only else "cpu"):  # the same numbers whichever device trains
            model: LanguageModel = config.construct("LanguageModel")
        model.to(device)
        optimizer = trainer.optimizer(model.named_parameters())
        schedule = trainer.schedule()
        try:
            corpus = trainer.source()
        except DataError:
            if needs_corpus:
                raise
            corpus = None
        if trainer.unseen_logit is not None and corpus is not None and not shapes_only:
            _start_unlikely(model, optimizer, unseen(corpus.train), trainer.unseen_logit)
        config.audit()
        return Experiment(config, as_utf8(config.operative_text), trainer, model, optimizer, schedule, corpus)


def check_corpus(experiment: Experiment, sha256: str) -> None:
    """Raises: DataError if the corpus is not the one with this hash, on which the run has trained so far."""
    corpus = experiment.corpus
    assert corpus is not None
    if corpus.sha256 != sha256:
        raise DataError(
            f"{corpus.train.file.path} is not what the run trained on: its SHA-256 is {corpus.sha256[:12]}, and it was "
            f"{sha256[:12]}; bring the old text back, or start a new run"
        )


def unseen(text: Split) -> torch.Tensor:
    """Which byte values do not occur, bool (256,)."""
    counts = torch.zeros(VOCABULARY, dtype=torch.int64)
    for start in range(0, len(text), COUNTED_AT_ONCE):
        counts += torch.from_numpy(np.bincount(text.bytes[start : start + COUNTED_AT_ONCE], minlength=VOCABULARY))
    return counts == 0


def _start_unlikely(
    model: LanguageModel, optimizer: torch.optim.Optimizer, lacking: torch.Tensor, logit: float
) -> None:
    """Train as if bytes that the text lacks, bool (256,), were no outputs: they start at `logit` [nats], and an
    optimizer that measures parameters leaves them out."""
    with torch.no_grad():
        model.output_bias[lacking] = logit
    if lacking.any() and isinstance(optimizer, MeasuresParameters):
        optimizer.measure_rows([model.embedding.weight, model.output_bias], ~lacking)


def describe(experiment: Experiment) -> dict[str, Any]:
    """What a model is, before it learns anything: sizes and costs."""
    model = experiment.model
    return {
        "parameters": count_parameters(model),
        "parameters_deployable": count_parameters(fold(model)),
        "macs_per_byte": model.macs(),
        "layers": len(model.blocks),
        "dim": model.dim,
        "memory": longest_memory(model),
        "config_sha": experiment.config.sha,
    }


def environment(experiment: Experiment) -> dict[str, Any]:
    """On what a run runs: enough to tell why two runs of one configuration differ."""
    corpus, device = experiment.corpus, experiment.trainer.torch_device()
    on_gpu = device.type == "cuda"
    return {
        "rnnlab": rnnlab.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "gin-config", "numpy", "einops")},
        "platform": platform.platform(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if on_gpu else platform.processor() or platform.machine(),
        "commit": _commit(),
        "command": list(map(hide_secrets, sys.argv)),
        "corpus": None if corpus is None else corpus.name,
        "corpus_sha": None if corpus is None else corpus.sha256,
        **describe(experiment),
    }


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

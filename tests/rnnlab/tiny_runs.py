"""Runs of about half a second, for tests of what training promises."""

import hashlib
import random
from pathlib import Path
from typing import Any

import torch

from rnnlab import api, config
from rnnlab.storage import checkpoint, metrics
from rnnlab.storage.runfolder import RunFolder
from rnnlab.training import experiment
from rnnlab.training.experiment import Experiment
from rnnlab.training.learner import Learner
from rnnlab.training.loop import Loop

FRAGMENTS = ["sha_rnn", "size/tiny"]
BINDINGS = [
    "LanguageModel.dim = 12",
    "memory = 40",
    "dropout = 0.1",
    "Trainer.batch_size = 4",
    "Trainer.bptt = 24",
    "Trainer.jitter = True",
    "Trainer.steps = 30",
    "Trainer.save_every = 7",
    "Trainer.log_every = 1",
    "Trainer.eval_every = 900",
    "Trainer.eval_bytes = 'all'",
    "Trainer.eval_bptt = 64",
]
TIMES = {"seconds", "seconds_evaluating", "seconds_saving", "bytes_per_second", "memory_mb"}
"""Fields that two equal runs differ in."""

torch.set_num_threads(1)  # bitwise equality is promised for one number of threads


def write_text(folder: Path, size: int = 12_000, seed: int = 0) -> Path:
    """A file of words that a tiny model learns something from."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("etaoinshr", k=draw.randint(1, 7))) for _ in range(60)]
    text = " ".join(draw.choices(words, k=size // 2))[:size]
    path = folder / f"text-{size}-{seed}"
    path.write_text(text)
    return path


def bindings(text: Path, *more: str) -> list[str]:
    """More bindings win over those that every tiny run has."""
    replaced = {line.partition(" = ")[0] for line in more}
    kept = [line for line in BINDINGS if line.partition(" = ")[0] not in replaced]
    return ["Trainer.source = @corpus.File", f"File.path = {str(text)!r}", *kept, *more]


def build(text: Path, *more: str) -> Experiment:
    return experiment.build(config.resolve(FRAGMENTS, bindings(text, *more)))


def train(run: Path, text: Path, *more: str) -> dict[str, Any]:
    return api.train(FRAGMENTS, bindings(text, *more), run=run)


def new_loop(run: Path, text: Path, *more: str) -> Loop:
    """A run that has not begun; whoever calls holds its folder."""
    built = build(text, *more)
    assert built.source is not None
    folder = RunFolder.create(run, built.config.text, built.operative, {"corpus_sha": built.source.sha256})
    return Loop(built, folder)


def state_hash(run: Path) -> str:
    """Of the tensors of the newest checkpoint: parameters, optimizer, stream."""
    newest = max((run / "checkpoints").iterdir(), key=lambda path: path.name)
    checkpoint.load(newest)
    return hashlib.sha256((newest / "state.safetensors").read_bytes()).hexdigest()


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in TIMES}


def journal(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl, times aside."""
    return [timeless(record) for record in metrics.read(run / "metrics.jsonl")]


def losses_of(learner: Learner, steps: int) -> torch.Tensor:
    """The loss of each of the next steps [nats], in the precision of the model."""
    dtype = next(learner.model.parameters()).dtype
    return torch.tensor([learner.step()["loss"] for _ in range(steps)], dtype=dtype)


def losses(run: Path) -> dict[int, float]:
    return {record["step"]: record["loss"] for record in journal(run) if record["kind"] == "train"}

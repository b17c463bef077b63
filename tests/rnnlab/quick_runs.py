"""Runs that were really trained, in a second or two."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rnnlab

TEXT = b"""<page>
<title>One</title>
The quick brown fox jumps over 12 lazy dogs; [[dogs]] sleep, '''foxes''' jump.
</page>
"""
OVERRIDES = [
    "LanguageModel.dim = 16",
    "memory = 24",
    "Trainer.batch_size = 2",
    "Trainer.bptt = 16",
    "Trainer.eval_bytes = 400",
    "Trainer.eval_batch_size = 2",
    "Trainer.log_every = 2",
    "Trainer.save_every = 10",
    "Cosine.warmup = 2",
]


def corpus(folder: Path) -> Path:
    """A file of about 20 kB with pages, markup, digits and words."""
    path = folder / "text.txt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(TEXT * 170)
    return path


def bindings(folder: Path, steps: int = 20, extra: Sequence[str] = ()) -> list[str]:
    """What makes a configuration tiny; the corpus lies in `folder`."""
    text = str(corpus(folder))
    idle = {"memory = 24"} if "attention = None" in extra else set()
    fixed = [line for line in OVERRIDES if line not in idle]
    return ["Trainer.source = @corpus.File", f"File.path = {text!r}", f"Trainer.steps = {steps}", *fixed, *extra]


def train(run: Path, steps: int = 20, fragments: Sequence[str] = (), extra: Sequence[str] = ()) -> dict[str, Any]:
    """Train `sha_rnn size/tiny` with its corpus beside the run, and return the result."""
    return rnnlab.train(["sha_rnn", "size/tiny", *fragments], bindings(run.parent, steps, extra), run)

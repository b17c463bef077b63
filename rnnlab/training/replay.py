"""One step of a run once more, from the checkpoint before it: what a NaN or a spike of the loss was made of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnlab.errors import ConfigError, StorageError
from rnnlab.scoring.losses import LN2
from rnnlab.storage import metrics
from rnnlab.storage.runfolder import RunFolder
from rnnlab.training import experiment
from rnnlab.training.gradients import global_norm, norms_by_part
from rnnlab.training.learner import Learner
from rnnlab.training.run import open_again
from rnnlab.training.threads import choose_threads, using_threads

SHOWN = 60  # [bytes] of a sequence's text, from its beginning and its end


@dataclass(frozen=True)
class Replay:
    """What a step read, and what it made of it; nothing was updated."""

    step: int
    checkpoint: int  # [step] it was recomputed from; 0 may be the beginning itself
    loss: float  # [nats]
    bpc: float | None  # of a text
    recorded_loss: float | None  # [nats] in metrics.jsonl; None if the step was not written down
    grad_norm: float  # before clipping
    grad_norms: dict[str, float]  # by part
    not_finite: list[str]  # tensors that were not finite before the step: model/..., optimizer/..., state/...
    chunks: list["Seen"]


@dataclass(frozen=True)
class Seen:
    """What one forward pass of the step read."""

    reading: int  # of the text, or batch of examples
    position: int  # within each sequence of the batch
    length: int  # [positions] of every sequence
    texts: list[str]  # what each sequence reads, abbreviated: text, or the numbers of a task's tokens


def replay(run: str | Path, step: int, device: str = "auto", overrides: Sequence[str] = ()) -> Replay:
    """Recompute a run up to `step` and look at that one; nothing is written.

    Args:
        run: its folder, which another process may hold.
        step: 1 for the first; a run that diverged did so in the step after its last.
        overrides: bindings of where its text lies now.
    Raises: ConfigError if the run has no such step; DataError if the corpus is not what it was; Diverged if a step
        between the checkpoint and this one is not finite.
    """
    if step < 1:
        raise ConfigError(f"--step {step}: the first step is 1")
    folder = RunFolder.open(run)
    original = folder.config()
    here = [f"Trainer.device = {device!r}", "Trainer.cuda_graph = False"]  # one step, perhaps on a CPU
    built = open_again(folder, original.override([*folder.resumed_with(), *here, *overrides]))
    learner = Learner(built, horizon=experiment.build(original, shapes_only=True, needs_source=False).trainer)
    with using_threads(choose_threads(built, folder.environment.get("threads"))):
        start = _restore(learner, folder, step)
        while learner.progress.step < step - 1 and learner.fraction() < 1.0:
            learner.step()
        if learner.fraction() >= 1.0:
            raise ConfigError(f"--step {step}: the run ends with step {learner.progress.step}")
        return _look(learner, folder, start)


def _restore(learner: Learner, folder: RunFolder, step: int) -> int:
    """Go to the newest whole checkpoint before `step`, or stay at the beginning; returns its step."""
    try:
        snapshot = folder.newest(at_most=step - 1)
    except StorageError:  # there is none so early: the beginning can be computed from the configuration
        return 0
    learner.restore(snapshot)
    return snapshot.step


def _look(learner: Learner, folder: RunFolder, start: int) -> Replay:
    not_finite = [name for name, x in learner.snapshot().tensors.items() if not x.isfinite().all()]
    chunks = learner.chunks()
    shown = _text if learner.source.task is None else _numbers
    loss = float(learner.backward(chunks)[0].loss)
    gradients = [p.grad for p in learner.model.parameters() if p.grad is not None]
    step = learner.progress.step + 1
    return Replay(
        step=step,
        checkpoint=start,
        loss=loss,
        bpc=loss / LN2 if learner.source.task is None else None,
        recorded_loss=_recorded_loss(folder, step),
        grad_norm=float(global_norm(gradients)),
        grad_norms=norms_by_part(learner.model.named_parameters()),
        not_finite=not_finite,
        chunks=[
            Seen(*chunk, [shown(sequence.tolist()) for sequence in learner.batches.read(chunk).inputs.t()])
            for chunk in chunks
        ],
    )


def _recorded_loss(folder: RunFolder, step: int) -> float | None:
    for record in metrics.read(folder.journal.path):
        if record.get("kind") == "train" and record.get("step") == step:
            loss = record.get("loss")
            return math.nan if loss is None else float(loss)  # JSON has no NaN
    return None


def _text(tokens: Sequence[int]) -> str:
    """Bytes, on one line."""
    data = bytes(tokens)
    if len(data) <= 2 * SHOWN:
        return _escaped(data)
    return f"{_escaped(data[:SHOWN])} ... {_escaped(data[-SHOWN:])}"


def _numbers(tokens: Sequence[int]) -> str:
    """Tokens of a task, on one line."""
    if len(tokens) <= SHOWN:
        return " ".join(map(str, tokens))
    return f"{_numbers(tokens[: SHOWN // 2])} ... {_numbers(tokens[-SHOWN // 2 :])}"


def _escaped(data: bytes) -> str:
    text = data.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def replay_text(found: Replay) -> str:
    """What the command line prints."""
    told = f"step {found.step}, recomputed from step {found.checkpoint}: loss {found.loss:.6f} nats"
    recorded = "" if found.recorded_loss is None else f"; metrics.jsonl has {found.recorded_loss:.6f}"
    lines = [
        f"{told}{'' if found.bpc is None else f' ({found.bpc:.4f} bpc)'}{recorded}",
        f"gradient norm {found.grad_norm:.6g}, before clipping",
        *(f"  {norm:12.6g}  {part}" for part, norm in found.grad_norms.items()),
    ]
    if found.not_finite:
        lines.append(f"not finite before the step: {', '.join(found.not_finite)}")
    for chunk in found.chunks:
        what = f"epoch {chunk.reading}" if found.bpc is not None else f"batch {chunk.reading:,} of examples"
        lines.append(f"{what}, {chunk.length} positions of every sequence from position {chunk.position:,}")
        lines += [f"  {number:3}  {text}" for number, text in enumerate(chunk.texts)]
    return "\n".join(lines)

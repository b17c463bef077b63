"""How good a model is on a split: bits per character of a text, accuracy and nats of a task's answers."""

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from rnnlab.data.source import Scorable
from rnnlab.errors import Diverged
from rnnlab.progress import ProgressBar
from rnnlab.scoring.forecaster import Forecaster
from rnnlab.scoring.losses import LN2
from rnnlab.scoring.order import ScoreFirst
from rnnlab.scoring.score import Protocol, Score


def evaluate(
    model: nn.Module,
    split: Scorable,
    *,
    batch_size: int = 8,
    bptt: int = 1024,
    limit: int | None = None,
    progress: bool = False,
    between_chunks: Callable[[], None] = lambda: None,
) -> Score:
    """Score `model` on `split`, with state and memory carried from chunk to chunk; draws no randomness and leaves the
    model as it was.

    Args:
        batch_size: B, contiguous pieces of a text that are read side by side, or examples of a task.
        bptt: T, positions read at a time [positions].
        limit: score only about so many positions: the first bytes of a text, fewer examples; None for all.
        progress: show how far it has come.
        between_chunks: called before every chunk; may raise to stop.
    Raises: Diverged if the loss is not finite; DataError.
    Differs: the first byte of every sequence of a text has nothing to be predicted from and is not scored, nor are the
        at most `batch_size` - 1 bytes that are left over after the cut.
    """
    return examine(
        ScoreFirst(Forecaster(model)), split, batch_size=batch_size, bptt=bptt, limit=limit, progress=progress,
        between_chunks=between_chunks,
    )  # fmt: skip


def examine(
    order: ScoreFirst,
    split: Scorable,
    *,
    batch_size: int,
    bptt: int,
    limit: int | None = None,
    progress: bool = False,
    between_chunks: Callable[[], None] = lambda: None,
) -> Score:
    """The same for any forecaster, one that learns from what was scored among them; it is left as it was.

    Args and raises: as `evaluate`.
    """
    model = order.forecaster.model
    device = next(model.parameters()).device
    parts = split.parts(batch_size, limit, device)
    protocol = protocol_of(model, split, batch_size=batch_size, bptt=bptt, limit=limit, dynamic=order.forecaster.told())
    total = sum(part.reader.epoch or 0 for part in parts)
    counted = "bytes" if parts[0].difficulty is None else "positions"
    scored, done = [], 0
    with order.forecaster, ProgressBar("evaluate", total, shown=progress, counted=counted) as bar:
        for part in parts:
            order.open(part, device)
            for chunk in part.chunks(bptt):
                between_chunks()
                read = part.reader.read(chunk).to(device)
                order.read(read, chunk)
                done += read.inputs.numel()
                bar.show(done)
            scored.append(order.running)
    by = tuple(one.answers() for one in scored if one.part.difficulty is not None)
    nats = sum(one.nats for one in by) / len(by) if by else scored[0].nats
    if not math.isfinite(nats):
        figure = f"{nats:g} nats" if by else f"BPC is {nats / LN2}"
        raise Diverged(f"the {split.name} {figure}: the parameters or what they give are not finite")
    return Score(nats, protocol, by)


def protocol_of(
    model: nn.Module,
    split: Scorable,
    *,
    batch_size: int,
    bptt: int,
    limit: int | None,
    dynamic: dict[str, Any] | None = None,
) -> Protocol:
    """How `evaluate` with these arguments measures."""
    counts = split.scored(batch_size, limit)
    return Protocol(batch_size, bptt, longest_memory(model), **counts, dynamic=dynamic)


def with_memory(model: nn.Module) -> list[Any]:
    """The parts whose window `part.memory` [positions] says, and that a longer or shorter one can be set on."""
    return [part for part in model.modules() if isinstance(getattr(part, "memory", None), int)]


def longest_memory(model: nn.Module) -> int | None:
    """The longest window among the model's attentions [positions]; None without attention."""
    return max((part.memory for part in with_memory(model)), default=None)

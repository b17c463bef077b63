"""Bits per character over a whole split, with state and memory carried from chunk to chunk."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.data.splits import Batches, Split
from rnnlab.errors import Diverged
from rnnlab.matmul import products_in
from rnnlab.progress import ProgressBar
from rnnlab.state import State, detach

LN2 = math.log(2.0)


@dataclass(frozen=True)
class Protocol:
    """How a figure was measured; without it a BPC says little."""

    batch_size: int  # contiguous pieces the split is cut into
    bptt: int  # [positions] read at a time; the figure does not depend on it beyond rounding
    bytes_scored: int
    memory: int | None  # [positions] each query may see; None without attention


@dataclass(frozen=True)
class Score:
    bpc: float  # [bits/byte], the mean over the bytes scored
    protocol: Protocol


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    batch_size: int = 8,
    bptt: int = 1024,
    limit: int | None = None,
    progress: bool = False,
    between_chunks: Callable[[], None] = lambda: None,
) -> Score:
    """BPC of `model` on `split`; draws no randomness and leaves the model as it was.

    Args:
        batch_size: B, contiguous pieces of the split that are read side by side.
        bptt: T, positions read at a time [positions].
        limit: score only about the first so many bytes of the split [bytes]; None for all of it.
        progress: show how far it has come.
        between_chunks: called before every chunk; may raise to stop.
    Raises: Diverged if the BPC is not finite; DataError.
    Differs: the first byte of every sequence has nothing to be predicted from and is not scored, nor are the at most
        `batch_size` - 1 bytes that are left over after the cut.
    """
    device = next(model.parameters()).device
    batches = Batches(_head(split, batch_size, limit), batch_size).to(device)
    last = batches.length - 1
    nats = torch.zeros((), dtype=torch.float64, device=device)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), products_in("fp32"), ProgressBar("evaluate", last * batch_size, shown=progress) as bar:
            state: State = model.initial_state(batch_size)  # type: ignore[operator]
            for position in range(0, last, bptt):
                between_chunks()
                length = min(bptt, last - position)
                inputs, targets = (part.to(device, non_blocking=True) for part in batches.chunk(position, length))
                logits, state = model(inputs, state)
                nats += cross_entropy(logits, targets, reduction="sum").double()
                state = detach(state)
                bar.show((position + length) * batch_size)
    finally:
        model.train(was_training)
    bpc = float(nats) / (last * batch_size) / LN2
    if not math.isfinite(bpc):
        raise Diverged(f"the {split.name} BPC is {bpc}: the parameters or what they give are not finite")
    return Score(bpc, protocol_of(model, split, batch_size=batch_size, bptt=bptt, limit=limit))


def protocol_of(model: nn.Module, split: Split, *, batch_size: int, bptt: int, limit: int | None) -> Protocol:
    """How `evaluate` with these arguments measures."""
    scored = (len(_head(split, batch_size, limit)) // batch_size - 1) * batch_size
    return Protocol(batch_size, bptt, scored, longest_memory(model))


def _head(split: Split, batch_size: int, limit: int | None) -> Split:
    return split if limit is None else replace(split, stop=min(split.stop, split.start + max(limit, 2 * batch_size)))


def cross_entropy(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """logits (T, B, V), targets (T, B) -> [nats], in at least single precision."""
    flat = logits.flatten(0, 1)
    return F.cross_entropy(flat.float() if flat.dtype.itemsize < 4 else flat, targets.flatten(), reduction=reduction)


def longest_memory(model: nn.Module) -> int | None:
    """The longest window among the model's attentions [positions]; None without attention."""
    windows: list[int] = [m.memory for m in model.modules() if isinstance(getattr(m, "memory", None), int)]  # type: ignore[misc]
    return max(windows, default=None)

"""One sequence, read from its first position to its last while all parts of the model are watched."""

import math
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rnnlab.errors import ConfigError
from rnnlab.matmul import products_in
from rnnlab.model import LanguageModel
from rnnlab.state import State
from rnnlab.views.watching import PlaceInModel, watching

CHUNK = 256  # [positions] read at a time; nothing depends on it beyond rounding
MOST = 1 << 30  # [bytes] that the arrays of one reading may take
FLOAT = 4  # [bytes]


@dataclass(frozen=True)
class Reading:
    """What was seen, on the CPU."""

    logits: Tensor  # (n, V)
    seen: dict[str, Tensor]  # hidden.N (n, D), attention.N (H, n, n), forget_gate.N (n, channels)


def read_positions(model: LanguageModel, tokens: Tensor, attention: bool) -> Reading:
    """Let `model`, in eval mode, read tokens (n,) int64 with an empty state; it is left as it was.

    Args:
        attention: keep the attention weights.
    Raises: ConfigError if what is kept would take more than MOST bytes.
    """
    device = next(model.parameters()).device
    _check_size(model, _PositionWatch(1, attention).read(model, tokens[:1].to(device)), len(tokens))
    return _PositionWatch(len(tokens), attention).read(model, tokens.to(device))


class _PositionWatch:
    """Fills the arrays of a reading, chunk by chunk."""

    def __init__(self, length: int, attention: bool) -> None:
        self._length, self._attention = length, attention
        self._start = 0  # of the chunk that is being read
        self._seen: dict[str, Tensor] = {}

    def read(self, model: LanguageModel, tokens: Tensor) -> Reading:
        """tokens (n,) on the model's device."""
        logits: list[Tensor] = []
        state: State = model.initial_state(1)
        with torch.no_grad(), products_in("fp32"), ExitStack() as hooks:
            for layer, block in enumerate(model.blocks):
                hooks.callback(block.register_forward_hook(partial(self._see_block, layer)).remove)
            see_attention = self._see_attention if self._attention else None
            hooks.enter_context(watching(model, see_attention, self._see_core))
            for start in range(0, self._length, CHUNK):
                self._start = start
                y, state = model(tokens[start : start + CHUNK].unsqueeze(1), state)
                logits.append(y[:, 0].float().cpu())
        return Reading(torch.cat(logits), dict(sorted(self._seen.items(), key=lambda item: _order(item[0]))))

    def _see_block(self, layer: int, block: Any, arguments: tuple[Any, ...], output: tuple[Tensor, State]) -> None:
        self._keep_rows(f"hidden.{layer}", output[0])

    def _see_core(self, place: PlaceInModel, core: Any, retention: Tensor) -> None:
        self._keep_rows(_name("forget_gate", "core", place), retention)

    def _keep_rows(self, name: str, rows: Tensor) -> None:
        """rows (T, 1, width)."""
        if name not in self._seen:
            self._seen[name] = torch.empty(self._length, rows.shape[2])
        self._seen[name][self._start : self._start + len(rows)] = rows[:, 0].float().cpu()

    def _see_attention(self, place: PlaceInModel, attention: Any, weights: Tensor) -> None:
        """weights (1, H, T, M' + T)."""
        heads, queries, keys = weights.shape[1:]
        name, stop = _name("attention", "attention", place), self._start + queries
        if name not in self._seen:
            self._seen[name] = torch.zeros(heads, self._length, self._length)
        self._seen[name][:, self._start : stop, stop - keys : stop] = weights[0].cpu()


def _name(kind: str, slot: str, place: PlaceInModel) -> str:
    return f"{kind}.{place.layer}" + ("" if place.slot == slot else f".{place.slot}")


def _order(name: str) -> tuple[int, int]:
    """By kind, then by layer."""
    kind, layer = name.split(".")[:2]
    return ("hidden", "attention", "forget_gate").index(kind), int(layer)


def _check_size(model: LanguageModel, one: Reading, length: int) -> None:
    """Raises: ConfigError if what one position gave is too much for so many."""
    square = FLOAT * sum(x.shape[0] for name, x in one.seen.items() if name.startswith("attention"))
    linear = FLOAT * sum(x.shape[-1] for name, x in one.seen.items() if not name.startswith("attention"))
    linear += FLOAT * one.logits.shape[-1]
    needed = square * length**2 + linear * length
    if needed <= MOST:
        return
    fits = (math.isqrt(linear**2 + 4 * square * MOST) - linear) // (2 * square) if square else MOST // linear
    remedy = f"take {fits:,} of them or fewer (--bytes {fits})"
    if square:
        remedy += ", or leave the attention weights out (attention=False), which grow with the square of the length"
    raise ConfigError(
        f"{length:,} positions: the arrays would take {needed / (1 << 30):,.1f} GiB, and {MOST / (1 << 30):g} GiB is "
        f"the most; {remedy}"
    )

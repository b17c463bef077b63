"""Hooks on the parts of a model while it reads: where its attentions look, and what its cores keep.

An attention is asked for the `weights` of `interfaces.HasAttentionWeights`, a core for the `retention` of
`interfaces.HasForgetGate`. Parts that offer neither are left out.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from rnnlab.interfaces import HasAttentionWeights, HasForgetGate
from rnnlab.ops.window import hidden_from


class PlaceInModel(NamedTuple):
    """Where a part stands in a model."""

    layer: int  # index into `model.blocks`, from 0
    slot: str  # its name within the block: attention, core, core.inner


See = Callable[[PlaceInModel, Any, Tensor], None]
"""Called with the place of a part, the part, and what it gave."""


def watched_parts(model: nn.Module) -> Iterator[tuple[PlaceInModel, Any]]:
    """The parts within the blocks that say where they look, or what they keep."""
    for name, module in model.named_modules():
        match = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
        if match and isinstance(module, HasAttentionWeights | HasForgetGate):
            yield PlaceInModel(int(match[1]), match[2]), module


@contextmanager
def watching(model: nn.Module, attention: See | None = None, forget_gate: See | None = None) -> Iterator[None]:
    """Watch every forward of the model inside the `with`.

    Args:
        attention: gets the weights (B, H, T, M' + T) of an attention: those on its memory first.
        forget_gate: gets the retention (T, B, channels) of a core.
    """
    answering: set[Any] = set()
    with ExitStack() as hooks:
        for place, module in watched_parts(model):
            if isinstance(module, HasAttentionWeights):
                hook = attention and partial(_see_attention, attention, place, answering)
            else:
                hook = forget_gate and partial(_see_core, forget_gate, place, answering)
            if hook:
                hooks.callback(module.register_forward_hook(hook).remove)
        yield


def _see_attention(
    see: See, place: PlaceInModel, answering: set[Any], attention: Any, arguments: tuple[Any, ...], output: Any
) -> None:
    if answering:  # within a core that runs itself again to answer
        return
    queries, source, state = arguments
    memory = state[0].to(source.dtype)
    hidden = hidden_from(len(queries), len(memory), attention.memory, source.device)
    see(place, attention, attention.weights(queries, source, memory, hidden).float())


def _see_core(
    see: See, place: PlaceInModel, answering: set[Any], core: Any, arguments: tuple[Any, ...], output: Any
) -> None:
    if core in answering:  # a core that is not linear runs itself to answer
        return
    answering.add(core)
    try:
        see(place, core, core.retention(*arguments).float())
    finally:
        answering.remove(core)

"""The model: an embedding, a stack of blocks, and the embedding again as the output layer."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.errors import ConfigError, check_probability, check_width
from rnnlab.interfaces import Foldable, Slot, reach_through
from rnnlab.ops.dropout import dropout
from rnnlab.registry import configurable
from rnnlab.state import State


@configurable
def Block(
    dim: int,
    wiring: Slot,
    core: Slot,
    attention: Slot | None = None,
    feedforward: Slot | None = None,
    dropout: float = 0.0,
) -> nn.Module:
    """One layer, as configurations bind it: what fills its slots, and the wiring (a `block` part) that connects them.

    Args:
        dim: width D; the model gives it.
        wiring: `@block.SHA`, `@block.PreNorm`, ...
        core, attention, feedforward: parts of those kinds; attention and feedforward may be None.
        dropout: the block's own [probability].
    """
    return wiring(dim, core=core, attention=attention, feedforward=feedforward, dropout=dropout)


@configurable
class LanguageModel(nn.Module):
    """Next-token prediction: embedding, blocks, and a linear layer whose weight is the embedding's.

    Source: Merity 2019, arXiv:1911.11423, section 3. No positions; without `output_norm` no final LayerNorm.
    Shapes: tokens (T, B) int64 -> logits (T, B, V), or (n, V) for n of the T B positions; state: one entry a block.
    Args:
        dim: width D.
        blocks: one factory a layer, called `slot(dim)`; depth is the length of the list.
        input_dropout: on the embedded tokens [probability].
        output_dropout: on the last block's output [probability].
        output_norm: a LayerNorm after the last block, which a residual stream needs and the SHA block brings itself.
        init_std: standard deviation that Linear and Embedding weights are drawn with; None for the paper's
            0.1 / sqrt(D). Cores own their initialization.
        vocabulary: V; the source that is learned from gives it: 256 byte values of a text, the tokens of a task.
    Raises: ConfigError if dim < 1, there is no block, a dropout is outside [0, 1) or init_std <= 0.
    """

    def __init__(
        self,
        dim: int,
        blocks: Sequence[Slot],
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        output_norm: bool = False,
        init_std: float | None = None,
        vocabulary: int = 256,
    ) -> None:
        super().__init__()
        check_width("LanguageModel", "dim", dim)
        if not blocks:
            raise ConfigError("LanguageModel.blocks = []: a model has at least one block; depth is the list's length")
        for name, p in (("input_dropout", input_dropout), ("output_dropout", output_dropout)):
            check_probability("LanguageModel", name, p)
        if init_std is not None and init_std <= 0.0:
            raise ConfigError(f"LanguageModel.init_std = {init_std}: a positive number, or None for 0.1 / sqrt(D)")
        self.dim, self.input_dropout, self.output_dropout = dim, input_dropout, output_dropout
        self.embedding = nn.Embedding(vocabulary, dim)
        self.blocks = nn.ModuleList([block(dim) for block in blocks])
        self.output_norm = nn.LayerNorm(dim) if output_norm else None
        self.output_bias = nn.Parameter(torch.zeros(vocabulary))
        self._initialize(0.1 / math.sqrt(dim) if init_std is None else init_std)

    def _initialize(self, std: float) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    @property
    def vocabulary(self) -> int:
        return self.embedding.num_embeddings

    def initial_state(self, batch: int) -> State:
        return tuple(block.initial_state(batch) for block in self.blocks)  # type: ignore[operator]

    def forward(self, tokens: Tensor, state: State, asked: Tensor | None = None) -> tuple[Tensor, State]:
        """asked (n,) int64: which positions of the flattened (T, B) get logits; None for all of them."""
        h = dropout(self.embedding(tokens), self.input_dropout, self.training)  # (T, B, D)
        h, state = self.through_blocks(h, state)
        if self.output_norm is not None:
            h = self.output_norm(h)
        h = dropout(h, self.output_dropout, self.training)
        if asked is not None:
            h = h.flatten(0, 1).index_select(0, asked)
        return F.linear(h, self.embedding.weight, self.output_bias), state

    def through_blocks(self, h: Tensor, state: State) -> tuple[Tensor, State]:
        """h (T, B, D) through one block after the other."""
        states = []
        for block, block_state in zip(self.blocks, state, strict=True):
            h, block_state = block(h, block_state)
            states.append(block_state)
        return h, tuple(states)

    def macs(self) -> int:
        """Multiply-accumulates per position [MAC/position], with every memory full."""
        return sum(block.macs() for block in self.blocks) + self.dim * self.vocabulary  # type: ignore[operator]


def count_parameters(model: nn.Module) -> int:
    """Trainable numbers, a tied one counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def reach(model: nn.Module) -> int | None:
    """How far back a model's answer can depend on what it read, its own position not counted [positions]: the sum over
    its blocks. None if there is no bound, as of every recurrent core."""
    return reach_through(model.blocks)  # type: ignore[arg-type]


def fold(model: nn.Module) -> nn.Module:
    """A copy for inference in which every Foldable part has taken its folded form."""
    folded = copy.deepcopy(model)
    replace_parts(folded, Foldable, lambda part: part.fold())
    flatten_weights(folded)
    return folded.eval()


def flatten_weights(model: nn.Module) -> None:
    """Lay the weights of each of torch's recurrent layers in one piece of the GPU's memory, as cuDNN takes them.

    `Module.to` does so too, and what is loaded is copied into that memory. A copy of a model has them apart, and cuDNN
    then warns and copies them at every call. Does nothing on the CPU.
    """
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()


def replace_parts(module: nn.Module, kind: type, by: Callable[[Any], nn.Module]) -> None:
    """Put `by(part)` in the place of every part of that kind."""
    for name, child in module.named_children():
        if isinstance(child, kind):
            setattr(module, name, by(child))
        else:
            replace_parts(child, kind, by)

"""An experiment: a chunk as a wavefront over pieces and layers, layer 2 on piece 1 while layer 1 is on piece 2.

The recurrence of a layer is sequential, and so are the layers; but piece k of layer l waits only for piece k - 1 of its
own layer and piece k of the layer below. On a GPU every layer has a stream of its own and the cells of a diagonal
overlap, forward and, since autograd goes back on the streams it came by, backward. On the CPU the order is all that
changes, so that the numbers can be held to those of the model's own order. Gradients flow through the state between
pieces.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from rnnlab.model import LanguageModel
from rnnlab.state import State, map_state


class Wavefront:
    """Takes the place of a model's `through_blocks`."""

    def __init__(self, model: LanguageModel, pieces: int) -> None:
        self.blocks, self.pieces = list(model.blocks), pieces
        self._streams: list[torch.cuda.Stream] = []

    def __call__(self, h: Tensor, state: State) -> tuple[Tensor, State]:
        if h.is_cuda and not self._streams:
            self._streams = [torch.cuda.Stream(h.device) for _ in self.blocks]  # type: ignore[no-untyped-call]
        pieces, states, done = list(h.tensor_split(self.pieces)), list(state), {}
        self._fork([*pieces, *state])
        for diagonal in range(len(self.blocks) + self.pieces - 1):
            for layer, block in enumerate(self.blocks):
                piece = diagonal - layer
                if not 0 <= piece < self.pieces:
                    continue
                with self._on(layer):
                    if self._streams and layer:
                        self._streams[layer].wait_event(done[layer - 1, piece])
                        pieces[piece].record_stream(self._streams[layer])
                    pieces[piece], states[layer] = block(pieces[piece], states[layer])
                    if self._streams:
                        done[layer, piece] = self._streams[layer].record_event()
        self._join([*pieces, *states])
        return torch.cat(pieces), tuple(states)

    def _on(self, layer: int) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._streams[layer]) if self._streams else nullcontext()

    def _fork(self, given: list[State]) -> None:
        for stream in self._streams:
            stream.wait_stream(torch.cuda.current_stream())
            _lend(given, stream)

    def _join(self, made: list[State]) -> None:
        for stream in self._streams:
            torch.cuda.current_stream().wait_stream(stream)
        if self._streams:
            _lend(made, torch.cuda.current_stream())


def _lend(tensors: list[State], stream: torch.cuda.Stream) -> None:
    """Keep the allocator from giving them away before `stream` is done with them."""

    def mark(tensor: Tensor) -> Tensor:
        tensor.record_stream(stream)
        return tensor

    for tensor in tensors:
        map_state(mark, tensor)

"""A chunk's forward and backward pass recorded once as a CUDA graph, and launched again in one call.

A recurrent model launches thousands of small kernels a chunk, and the host may not keep up with the GPU. A recording
fixes every shape and every address: it serves chunks of one length behind a memory of one length, and all that differs
from chunk to chunk is copied in before and out after, the keys of the dropout masks among it. What does not fit runs as
if there were no graph.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnnlab.data.source import Read
from rnnlab.ops.dropout import KeyTable, drawn_keys
from rnnlab.ops.triton_devices import current
from rnnlab.state import State, leaves, map_state


class Told(NamedTuple):
    """What a pass says of its chunk, 0-dim."""

    loss: Tensor  # [nats]
    accuracy: Tensor | None  # on what a task asks; None of a text


Pass = Callable[[Read, State], tuple[Told, State]]
"""Forward and backward of a chunk (T, B) behind a state: what is said of it, next state; gradients go to parameters."""

Given = tuple[Read, State]
ToldAndState = tuple[Told, State]
Recorder = Callable[[Callable[[], ToldAndState]], tuple[Callable[[], None], ToldAndState]]
"""Takes work, gives what repeats it and where its results lie from then on."""

WARM_UP = 3  # runs before the recording, in which cuBLAS, cuDNN and Triton take what they need


def record(work: Callable[[], ToldAndState]) -> tuple[Callable[[], None], ToldAndState]:
    """Record `work` on the current CUDA device. The random numbers that follow are those that would have."""
    with torch.random.fork_rng(devices=[torch.cuda.current_device()]):
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outcome = work()
    return graph.replay, outcome


class GraphedPass:
    """A pass that is recorded as soon as two chunks in a row have the same shapes; the one recording is kept.

    Shapes differ while the memory fills and where the sequences end. Gradients are set, not added to.
    """

    def __init__(self, run: Pass, parameters: Iterable[nn.Parameter], record: Recorder = record) -> None:
        self._run, self._parameters, self._record = run, list(parameters), record
        self._last: list[torch.Size] | None = None
        self._recorded: list[torch.Size] | None = None
        self._masks = 0  # dropout masks of the last pass that was not replayed
        self._replay: Callable[[Given], ToldAndState]

    def __call__(self, read: Read, state: State) -> ToldAndState:
        given = read, state
        shapes = [tensor.shape for _, tensor in leaves(given)]
        if self._recorded is None and shapes == self._last:
            self._recorded, self._replay = shapes, self._recording(given)
        self._last = shapes
        if shapes == self._recorded:
            return self._replay(given)
        before = drawn_keys()
        outcome = self._run(*given)
        self._masks = drawn_keys() - before
        return outcome

    @property
    def recorded(self) -> bool:
        return self._recorded is not None

    def _recording(self, given: Given) -> Callable[[Given], ToldAndState]:
        """What repeats the pass for other tensors of the same shapes; all that it works on stays where it is."""
        held: Given = map_state(torch.clone, given)
        device = given[0].inputs.device
        keys = KeyTable(self._masks, device)

        def work() -> ToldAndState:
            for parameter in self._parameters:
                parameter.grad = None  # the backward then makes a new one, and the recording keeps to its address
            with keys.in_use():
                return self._run(*held)

        with current(device):
            repeat, outcome = self._record(work)
        gradients = [parameter.grad for parameter in self._parameters]

        def replay(given: Given) -> ToldAndState:
            for (_, kept), (_, new) in zip(leaves(held), leaves(given), strict=True):
                kept.copy_(new)
            keys.draw()
            repeat()
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                parameter.grad = gradient
            return map_state(torch.clone, outcome)  # type: ignore[no-any-return]  # the next replay writes over it

        return replay

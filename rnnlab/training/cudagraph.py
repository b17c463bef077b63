"""A chunk's forward and backward pass recorded once as a CUDA graph, and launched again in one call.

A recurrent model launches thousands of small kernels a chunk, and the host may not keep up with the GPU. A recording
fixes every shape and every address: it serves chunks of one length behind a memory of one length, and all that differs
from chunk to chunk is copied in before and out after, the keys of the dropout masks among it. What does not fit runs as
if there were no graph.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from rnnlab.ops.dropout import KeyTable, drawn_keys
from rnnlab.ops.triton_devices import current
from rnnlab.state import State, leaves, map_state

Pass = Callable[[Tensor, Tensor, State], tuple[Tensor, State]]
"""Forward and backward of inputs, targets (T, B) and a state: loss [nats], next state; gradients go to parameters."""

Read = tuple[Tensor, Tensor, State]
LossAndState = tuple[Tensor, State]
Recorder = Callable[[Callable[[], LossAndState]], tuple[Callable[[], None], LossAndState]]
"""Takes work, gives what repeats it and where its results lie from then on."""

WARM_UP = 3  # runs before the recording, in which cuBLAS, cuDNN and Triton take what they need


def record(work: Callable[[], LossAndState]) -> tuple[Callable[[], None], LossAndState]:
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
        self._replay: Callable[[Read], LossAndState]

    def __call__(self, inputs: Tensor, targets: Tensor, state: State) -> LossAndState:
        read = inputs, targets, state
        shapes = [tensor.shape for _, tensor in leaves(read)]
        if self._recorded is None and shapes == self._last:
            self._recorded, self._replay = shapes, self._recording(read)
        self._last = shapes
        if shapes == self._recorded:
            return self._replay(read)
        before = drawn_keys()
        outcome = self._run(*read)
        self._masks = drawn_keys() - before
        return outcome

    @property
    def recorded(self) -> bool:
        return self._recorded is not None

    def _recording(self, read: Read) -> Callable[[Read], LossAndState]:
        """What repeats the pass for other tensors of the same shapes; all that it works on stays where it is."""
        held: Read = map_state(torch.clone, read)
        device = read[0].device
        keys = KeyTable(self._masks, device)

        def work() -> LossAndState:
            for parameter in self._parameters:
                parameter.grad = None  # the backward then makes a new one, and the recording keeps to its address
            with keys.in_use():
                return self._run(*held)

        with current(device):
            repeat, outcome = self._record(work)
        gradients = [parameter.grad for parameter in self._parameters]

        def replay(read: Read) -> LossAndState:
            for (_, kept), (_, new) in zip(leaves(held), leaves(read), strict=True):
                kept.copy_(new)
            keys.draw()
            repeat()
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                parameter.grad = gradient
            return map_state(torch.clone, outcome)  # type: ignore[no-any-return]  # the next replay writes over it

        return replay

"""A chunk's forward and backward pass recorded once as a CUDA graph, and launched again in one call.

A recurrent model launches thousands of small kernels a chunk, and the host may not keep up with the GPU. A recording
fixes every shape and every address: it serves chunks of one length behind a memory of one length, and all that differs
from chunk to chunk is copied in before and out after. What does not fit runs as if there were no graph.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from rnnlab.state import State, leaves, map_state

Pass = Callable[[Tensor, Tensor, State], tuple[Tensor, State]]
"""Forward and backward: inputs (T, B), targets (T, B), state -> loss [nats], the state after; gradients are left in the
parameters."""

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
        self._recording: _Recording | None = None

    def __call__(self, inputs: Tensor, targets: Tensor, state: State) -> LossAndState:
        shapes = _shapes((inputs, targets, state))
        repeated, self._last = shapes == self._last, shapes
        if self._recording is None and repeated:
            self._recording = _Recording(self._run, self._parameters, self._record, (inputs, targets, state))
        if self._recording is not None and self._recording.shapes == shapes:
            return self._recording.replay((inputs, targets, state))
        return self._run(inputs, targets, state)

    @property
    def recorded(self) -> bool:
        return self._recording is not None


class _Recording:
    """Tensors that stay where they are, and the work between them."""

    def __init__(self, run: Pass, parameters: list[nn.Parameter], record: Recorder, read: Read) -> None:
        self.shapes, self._parameters = _shapes(read), parameters
        self._read: Read = map_state(torch.clone, read)

        def work() -> LossAndState:
            for parameter in parameters:
                parameter.grad = None  # the backward then makes a new one, and the recording keeps to its address
            return run(*self._read)

        self._replay, self._outcome = record(work)
        self._gradients = [parameter.grad for parameter in parameters]

    def replay(self, read: Read) -> LossAndState:
        """The results are copies: the next replay writes over what the recording holds."""
        for (_, kept), (_, new) in zip(leaves(self._read), leaves(read), strict=True):
            kept.copy_(new)
        self._replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return map_state(torch.clone, self._outcome)  # type: ignore[no-any-return]


def _shapes(read: Read) -> list[torch.Size]:
    return [tensor.shape for _, tensor in leaves(read)]

"""A model's forward pass on tensors that say they are on a GPU: `python -m tests.gpu.fake_cuda LIBRARY FRAGMENTS...`.

Each FRAGMENTS, such as sha_rnn,core/gru, is run over two chunks in each precision. What comes out are dtypes as JSON:
of the states, of the logits, and of what cuDNN was given. For a process of its own, since it changes torch's.
"""

import ctypes
import json
import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from rnnlab import config
from rnnlab.state import detach, leaves
from rnnlab.training import experiment

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
T, B = 16, 6


class FakeCudnn:
    """Takes the place of torch.lstm and torch.gru: answers in the dtype that it was given, and remembers it."""

    def __init__(self) -> None:
        self.given: set[str] = set()

    def lstm(self, x: Tensor, states: list[Tensor], weights: list[Tensor], *_: Any) -> tuple[Tensor, ...]:
        self.given |= {name(tensor) for tensor in (x, *states, *weights)}
        return x.new_empty(*x.shape[:2], states[0].shape[-1]), *(state.clone() for state in states)

    def gru(self, x: Tensor, state: Tensor, weights: list[Tensor], *rest: Any) -> tuple[Tensor, ...]:
        return self.lstm(x, [state], weights, *rest)


def name(tensor: Tensor) -> str:
    return f"{str(tensor.dtype)[6:]} on {tensor.device.type}"


def on_fake_cuda(fragments: str) -> nn.Module:
    built = experiment.build(config.resolve(fragments.split(",")), shapes_only=True, needs_source=False)
    with FakeTensorMode(allow_non_fake_inputs=True):
        return built.model.to_empty(device="cuda:0").eval()  # the key of a mask is a number, which a fake has not


def forward(model: Any, dtype: torch.dtype | None, cudnn: FakeCudnn) -> dict[str, Any]:
    cudnn.given.clear()
    with next(model.parameters()).fake_mode, torch.autocast("cuda", dtype, enabled=dtype is not None):
        state = model.initial_state(B)
        started = {path: name(leaf) for path, leaf in leaves(state) if leaf.numel()}
        for _ in range(2):
            logits, state = model(torch.empty(T, B, dtype=torch.long, device="cuda:0"), state)
            state = detach(state)
    ended = {path: name(leaf) for path, leaf in leaves(state)}
    return {"started": started, "ended": ended, "cudnn": sorted(cudnn.given), "logits": name(logits)}


def main(library: str, *roots: str) -> None:
    ctypes.CDLL(library)
    import torch.amp.autocast_mode as autocast
    from torch.cuda.amp import common

    autocast.amp_definitely_not_available = common.amp_definitely_not_available = lambda: False
    torch.cuda.is_bf16_supported = lambda *_, **__: True
    torch.cuda.current_device = lambda: 0
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    cudnn = FakeCudnn()
    torch.lstm, torch.gru = cudnn.lstm, cudnn.gru
    found = {}
    for root in roots:
        model = on_fake_cuda(root)
        found[root] = {precision: forward(model, dtype, cudnn) for precision, dtype in PRECISIONS.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

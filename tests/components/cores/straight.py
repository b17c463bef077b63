"""What tests of cores with a memory of outer products share: the equations' small words, written out once more."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from rnnlab.state import map_state


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def softplus(x: Tensor) -> Tensor:
    return torch.log(1 + torch.exp(x))


def head_norm(x: Tensor, gain: Tensor) -> Tensor:
    """x (B, H, V)."""
    return x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + 1e-5) * gain.reshape(-1, x.shape[-1])


def convolved(inputs: Tensor, weight: Tensor, bias: Tensor) -> Iterator[Tensor]:
    """silu of the convolution of inputs (width - 1 + T, B, C), a position at a time; weight (width, C)."""
    width = len(weight)
    for t in range(width - 1, len(inputs)):
        yield silu(sum((weight[w] * inputs[t - width + 1 + w] for w in range(width)), bias))


Forward = Callable[[Any, Tensor, Any], Tensor]


def agrees(core: Any, straight: Forward, positions: int = 70, batch: int = 2) -> None:
    """The core's y and its gradients are those of a straight-line implementation, over more than one chunk."""
    core = core.double()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    x = torch.randn(positions, batch, core.dim, dtype=torch.float64, requires_grad=True)
    before = torch.randn(5, batch, core.dim, dtype=torch.float64)
    state = map_state(Tensor.detach, core(before, core.initial_state(batch))[1])  # one that is not empty
    weights = torch.randn(positions, batch, core.dim, dtype=torch.float64)
    found = []
    for y in (core(x, state)[0], straight(core, x, state)):
        found.append((y, *torch.autograd.grad((y * weights).sum(), [x, *core.parameters()])))
    for name, ours, theirs in zip(["y", "x", *(n for n, _ in core.named_parameters())], *found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9, msg=lambda text, n=name: f"{n}: {text}")

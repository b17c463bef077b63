"""Modules of shapes alone: parameters without numbers, so that a model of any size is counted at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


@contextmanager
def without_numbers() -> Iterator[None]:
    """What is built within lies on torch's meta device: its tensors have a shape and a dtype, and no numbers."""
    with torch.device("meta"), _WithoutNumbers():
        yield


def _as_it_is(tensor: Tensor, *_: Any, **__: Any) -> Tensor:
    return tensor


def _like_it(tensor: Tensor, *_: Any, **__: Any) -> Tensor:
    return torch.empty_like(tensor)


def _broadcast(x: Tensor, y: Tensor | float) -> Tensor:
    if not isinstance(y, Tensor):
        return torch.empty_like(x)
    return x.new_empty(torch.broadcast_shapes(x.shape, y.shape))  # type: ignore[no-untyped-call]


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return x.new_empty(*x.shape[:-1], len(weight))


INSTEAD: dict[Callable[..., Any], Callable[..., Tensor]] = {
    nn.init.normal_: _as_it_is,
    Tensor.normal_: _as_it_is,
    Tensor.__pow__: _broadcast,
    Tensor.mul: _broadcast,
    torch.sigmoid: _like_it,
    torch.tanh: _like_it,
    torch.logit: _like_it,
    torch.exp: _like_it,
    torch.expm1: _like_it,
    torch.log: _like_it,
    F.linear: _linear,
}
"""Of what our parts do when they are built and folded, that for which torch's meta device has no compiled code. In its
stead torch would import its compiler, which takes longer than the rest of `rnnlab show`. What is not named here, in a
part of someone else, is only slower."""


class _WithoutNumbers(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        instead: Callable[..., Any] = INSTEAD.get(func, func)
        return instead(*args, **(kwargs or {}))

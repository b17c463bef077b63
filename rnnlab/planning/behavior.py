"""Tensors on torch's meta device made to behave as on CUDA, where the meta device would go another way.

A meta tensor has a shape and a dtype and no numbers. torch runs almost all of a training step on it as on a GPU. The
rest is replaced at the calls of torch that the model makes: autocast, which the meta device lacks; dropout, one kernel
on CUDA; recurrent layers, one call of cuDNN; and numbers that the host asks for, for which it would wait for the GPU.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, Self
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rnnlab.ops import dropout, native
from rnnlab.planning.cudnn import Note, recurrent_layer


class Autocast(NamedTuple):
    """What torch.autocast does with a call, by its name, on one kind of device."""

    lowered: frozenset[str]  # floating-point arguments in the low precision
    raised: frozenset[str]  # arguments in fp32
    widened: frozenset[str]  # computed, and returned, in fp32 from arguments as they are


PRODUCTS = ("linear matmul __matmul__ __rmatmul__ mm bmm mv addmm addmv addbmm baddbmm einsum conv1d "
            "scaled_dot_product_attention")  # fmt: skip
RAISED = ("exp expm1 log log10 log2 log1p reciprocal rsqrt sinh cosh tan acos asin pow __pow__ layer_norm rms_norm "
          "group_norm norm softplus logsumexp nll_loss dist")  # fmt: skip
WIDENED = "softmax log_softmax cumsum cumprod sum prod"

AUTOCAST = {
    "cuda": Autocast(frozenset(PRODUCTS.split()), frozenset(RAISED.split()), frozenset(WIDENED.split())),
    "cpu": Autocast(frozenset(PRODUCTS.split()), frozenset({"nll_loss", "prod"}), frozenset()),
}
"""Source: torch's aten/src/ATen/autocast_mode.h, those of its names that a model of bytes may come by."""

HERE, TORCH = os.path.dirname(__file__), os.path.dirname(torch.__file__)

ASKED = {"item": 0.0, "__float__": 0.0, "__int__": 0, "__index__": 0, "__bool__": True}
"""Calls by which the host gets a number of the device, and what it is given here: a step that goes on."""


class CudaBehavior(TorchFunctionMode):
    """Within the block, what the module says.

    Args:
        note: told of each recurrent layer, forward and backward.
        like: the device whose autocast is followed; "cpu" also leaves recurrent layers and dropout as they are.
    Attributes:
        waits: how often the host asked for numbers of the device, by file and line.
    """

    def __init__(self, note: Note, like: str = "cuda") -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self._policy, self._cudnn, self._note = AUTOCAST[like], like == "cuda", note
        self._low: list[torch.dtype | None] = []  # of the autocast blocks around, innermost last
        self._cast: dict[int, tuple[Tensor, Tensor]] = {}  # parameters, and what autocast made of them
        self._patches = ExitStack()

    def __enter__(self) -> Self:
        for owner, name, value in self._replaced():
            self._patches.enter_context(mock.patch.object(owner, name, value))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        self._patches.close()

    def _replaced(self) -> Iterator[tuple[Any, str, Any]]:
        """What asks for the type of the device, and would go another way for meta tensors than for CUDA's."""
        from torch.optim import optimizer
        from torch.utils import _foreach_utils

        real = torch.autocast

        def autocast(device_type: str, dtype: torch.dtype | None = None, enabled: bool = True, **more: Any) -> Any:
            return self._within(dtype if enabled else None) if device_type == "meta" else real(
                device_type, dtype, enabled, **more
            )  # fmt: skip

        yield torch, "autocast", autocast
        yield native, "autocast_dtype", lambda device: self._low[-1] if self._low else None
        if self._cudnn:
            yield dropout, "apply_mask", _masked
        yield optimizer, "_get_fused_kernels_supported_devices", lambda: ["cuda", "cpu", "meta"]
        yield _foreach_utils, "_get_foreach_kernels_supported_devices", lambda: ["cuda", "meta"]

    @contextmanager
    def _within(self, dtype: torch.dtype | None) -> Iterator[None]:
        self._low.append(dtype)
        try:
            yield
        finally:
            self._low.pop()
            if not self._low:
                self._cast.clear()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name, kwargs = func.__name__, dict(kwargs or {})
        if name in ASKED or name == "tolist":
            return self._asked(name, func, args)
        if self._cudnn and name in ("lstm", "gru") and args[0].is_meta:
            dtypes = [dtype for dtype in self._low if dtype is not None]  # as torch's AutocastRNN: always float16
            return recurrent_layer(name, args, torch.float16 if dtypes else args[0].dtype, self._note)
        low = self._low[-1] if self._low else None
        if low is not None:
            if name in self._policy.lowered:
                args, kwargs = self._to(low, args), self._to(low, kwargs)
            elif name in self._policy.raised:
                args, kwargs = self._to(torch.float32, args), self._to(torch.float32, kwargs)
            elif name in self._policy.widened and args[0].dtype in (torch.bfloat16, torch.float16):
                kwargs.setdefault("dtype", torch.float32)
        return func(*args, **kwargs)

    def _asked(self, name: str, func: Callable[..., Any], args: Sequence[Any]) -> Any:
        x: Tensor = args[0]
        if not x.is_meta:
            return func(*args)
        self.waits[caller()] += 1
        return torch.zeros(x.shape).tolist() if name == "tolist" else ASKED[name]

    def _to(self, dtype: torch.dtype, value: Any) -> Any:
        """Arguments with their floating-point meta tensors in that dtype; a parameter is cast once in all blocks."""
        if isinstance(value, dict):
            return {key: self._to(dtype, each) for key, each in value.items()}
        if isinstance(value, (tuple, list)):
            return type(value)(self._to(dtype, each) for each in value)
        if not (isinstance(value, Tensor) and value.is_meta and value.is_floating_point()) or value.dtype == dtype:
            return value
        if value.dtype == torch.float64:
            return value
        if not (value.is_leaf and value.requires_grad):
            return value.to(dtype)
        if id(value) not in self._cast:
            self._cast[id(value)] = value, value.to(dtype)
        return self._cast[id(value)][1]


def _masked(x: Tensor, p: float, *rest: Any, **more: Any) -> Tensor:
    """As Triton's kernel: x is read once, and what is kept of it is written."""
    return torch.threshold(x, 0.0, 0.0)  # what no part calls, so that the account can tell it


def caller() -> str:
    """File and line of the innermost call that is neither torch's nor of this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        name = frame.f_code.co_filename
        if not name.startswith((TORCH, HERE, "<")):
            break
        frame = frame.f_back
    return f"{'/'.join(frame.f_code.co_filename.split('/')[-2:])}:{frame.f_lineno}"

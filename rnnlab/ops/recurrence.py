"""The linear recurrence that QRNN, SRU, minGRU and RG-LRU share.

    h_t = a_t h_{t-1} + b_t

Three backends, chosen by device: C on the CPU, Triton on a GPU, a loop in torch where neither can be used. All carry h
in double precision, so that gates near 1 add up no rounding over thousands of steps; the backward is written by hand,
which halves the loop's time and spares its graph. It is an operator of torch's own dispatcher: torch.compile keeps it
whole.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from rnnlab.ops import native, triton_devices

Backend = Literal["reference", "native", "triton"]


def linear_recurrence(a: Tensor, b: Tensor, h0: Tensor, backend: Backend | None = None) -> Tensor:
    """h_t = a_t h_{t-1} + b_t, h (T, B, D), for a, b (T, B, D), h_{-1} = h0 (B, D), one dtype; `backend` forces one."""
    assert (a.shape, a.shape[1:]) == (b.shape, h0.shape), f"{a.shape}, {b.shape}, {h0.shape}"
    assert a.dtype == b.dtype == h0.dtype, f"{a.dtype}, {b.dtype}, {h0.dtype}"
    if len(a) == 1 and backend is None:  # a byte at a time: nothing to loop over
        return torch.addcmul(b[0], a[0], h0).unsqueeze(0)
    h: Tensor = _recurrence(a, b, h0, backend or "")
    return h


def full_precision(x: Tensor) -> Tensor:
    """x as float32 if it is narrower: gates and the carry do not survive in bfloat16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _reference(a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
    """h, a position at a time."""
    wide = _carry_dtype(a)
    h = b.to(wide, copy=True)
    carry = h0.to(wide)
    for a_t, h_t in zip(a.to(wide).unbind(), h.unbind(), strict=True):
        carry = h_t.addcmul_(a_t, carry)  # h_t holds b_t until now
    return h.to(b.dtype)


def _reference_backward(a: Tensor, h: Tensor, h0: Tensor, grad_h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for a, b, h0: with g_t = grad_h_t + a_{t+1} g_{t+1} they are g_t h_{t-1}, g_t and a_0 g_0."""
    wide = _carry_dtype(a)
    a = a.to(wide)
    g = grad_h.to(wide, copy=True)
    rows, gates = g.unbind(), a.unbind()
    for t in range(len(rows) - 2, -1, -1):
        rows[t].addcmul_(gates[t + 1], rows[t + 1])
    before = torch.cat([h0.unsqueeze(0), h[:-1]])
    return (g * before).to(h.dtype), g.to(h.dtype), (a[0] * g[0]).to(h.dtype)


def _carry_dtype(a: Tensor) -> torch.dtype:
    """Doubles, except where the device has none."""
    return torch.float32 if a.device.type == "mps" else torch.float64


@torch.library.custom_op("rnnlab::linear_recurrence", mutates_args=())
def _recurrence(a: Tensor, b: Tensor, h0: Tensor, backend: str) -> Tensor:
    a, b, h0 = a.contiguous(), b.contiguous(), h0.contiguous()
    chosen = backend or _choose(a)
    if chosen == "native":
        h = torch.empty_like(b)
        native.run("recurrence_forward", a, b, h0, h, len(a), h0.numel())
        return h
    if chosen == "triton":
        return _triton().forward(a, b, h0)  # type: ignore[no-any-return]
    return _reference(a, b, h0)


@torch.library.custom_op("rnnlab::linear_recurrence_backward", mutates_args=())
def _recurrence_backward(
    a: Tensor, h: Tensor, h0: Tensor, grad_h: Tensor, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for a, b and h0."""
    a, h0, grad_h = a.contiguous(), h0.contiguous(), grad_h.contiguous()
    chosen = backend or _choose(a)
    if chosen == "native":
        gradients = torch.empty_like(a), torch.empty_like(a), torch.empty_like(h0)
        native.run("recurrence_backward", a, h, h0, grad_h, *gradients, len(a), h0.numel())
        return gradients
    if chosen == "triton":
        return _triton().backward(a, h, h0, grad_h)  # type: ignore[no-any-return]
    return _reference_backward(a, h, h0, grad_h)


@_recurrence.register_fake
def _(a: Tensor, b: Tensor, h0: Tensor, backend: str) -> Tensor:
    return torch.empty_like(b, memory_format=torch.contiguous_format)


@_recurrence_backward.register_fake
def _(a: Tensor, h: Tensor, h0: Tensor, grad_h: Tensor, backend: str) -> tuple[Tensor, Tensor, Tensor]:
    like_a, like_h0 = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (a, h0))
    return like_a, torch.empty_like(like_a), like_h0


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    a, _, h0, ctx.backend = inputs
    ctx.save_for_backward(a, output, h0)


def _backward(ctx: Any, grad_h: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    a, h, h0 = ctx.saved_tensors
    return *_recurrence_backward(a, h, h0, grad_h, ctx.backend), None


_recurrence.register_autograd(_backward, setup_context=_remember)


def _choose(a: Tensor) -> Backend:
    if a.dtype != torch.float32:
        return "reference"
    if a.is_cuda and triton_devices.usable(a.device):
        return "triton"
    return "native" if a.device.type == "cpu" and native.kernels() else "reference"


def _triton() -> Any:
    from rnnlab.ops import recurrence_triton  # imports triton, which is not installed everywhere

    return recurrence_triton

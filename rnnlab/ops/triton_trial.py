"""The smallest kernel: what can go wrong before a first launch goes wrong here."""

import torch
import triton
import triton.language as tl

from rnnlab.ops.triton_devices import launch


def run(device: torch.device) -> None:
    """Compile, launch and check. Raises: whatever Triton raises; RuntimeError if the kernel computes something else."""
    x = torch.arange(32, device=device)
    launch(_add_one, 1, x, SIZE=32)
    if x.tolist() != list(range(1, 33)):
        raise RuntimeError(f"x + 1 came out as {x.tolist()[:4]} ...")


@triton.jit  # type: ignore[untyped-decorator]
def _add_one(x_ptr, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    place = tl.arange(0, SIZE)
    tl.store(x_ptr + place, tl.load(x_ptr + place) + 1)

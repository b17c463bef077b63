"""An account of what a device is asked to do: every kernel, every byte that is held, and what does not belong there."""

import weakref
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from rnnlab.planning.behavior import caller
from rnnlab.planning.cudnn import Recurrence

WITHOUT_KERNEL = frozenset(
    ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach", "alias", "lift_fresh",
     "_unsafe_view", "_reshape_alias", "set_", "resize_", "is_same_size", "record_stream")
)  # fmt: skip
"""Operators that allocate, or look at a tensor in another way, without an alias in their schema that says so."""

WRITE_ONLY = frozenset(("copy_", "fill_", "zero_"))  # their first argument is not read
COPIES = frozenset(("copy_", "_to_copy"))

MULTI_TENSOR_CHUNK = 65_536  # numbers that a block of torch's _foreach_ kernels takes,
MULTI_TENSOR_BLOCKS = 320  # and blocks of one launch (aten/src/ATen/native/cuda/MultiTensorApply.cuh)


@dataclass(eq=False)
class Allocation:
    """Memory that is held, by one tensor or several."""

    nbytes: int
    part: str  # what it is of: "core", "attention", ..., or "parameters" and the like
    storage: weakref.ref[torch.UntypedStorage]


@dataclass(frozen=True)
class Kernel:
    """One operator that ran on the device; most are one launch."""

    name: str
    part: str  # of the model, or "optimizer", "data"
    backward: bool
    traffic: int  # [bytes] read and written
    flops: int  # of products
    dtype: torch.dtype  # of the products
    launches: int = 1
    positions: int = 0  # that it goes through one by one, as a recurrent layer does
    width: int = 0  # of that layer


@dataclass
class Account:
    """What was asked for between two moments."""

    kernels: list[Kernel] = field(default_factory=list)
    peak: int = 0  # [bytes] held at most
    at_peak: list[Allocation] = field(default_factory=list)
    mixed: Counter[str] = field(default_factory=Counter)  # operators that took tensors of the host as well, by place
    copies: Counter[str] = field(default_factory=Counter)  # between host and device, by place


class Tracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within the block every operator on a tensor of `device` is entered in `account`."""

    def __init__(self, device: str = "meta") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.account = Account()
        self._device = device
        self._held: dict[int, Allocation] = {}  # by address
        self._now = 0  # [bytes]
        self._parts = ["rest"]
        self._marks: list[int] = []  # sequence numbers of autograd, at which the part changed
        self._marked: list[str] = []  # to this one

    def begin(self) -> None:
        """A new account, of a device that holds what it holds."""
        self.account = Account(peak=self._now, at_peak=list(self._held.values()))

    def hold(self, tensors: Sequence[Tensor], part: str) -> list[Allocation]:
        """What these tensors lie in; it is the part's from now on."""
        found = []
        for tensor in tensors:
            allocation = self._see(tensor)
            if allocation is not None:
                allocation.part = part
                found.append(allocation)
        return found

    @contextmanager
    def within(self, part: str) -> Iterator[None]:
        """Kernels and memory of the block, and of its backward pass, are the part's."""
        self.enter(part)
        try:
            yield
        finally:
            self.leave()

    def enter(self, part: str) -> None:
        self._parts.append(part)
        self._mark()

    def leave(self) -> None:
        self._parts.pop()
        self._mark()

    def _mark(self) -> None:
        self._marks.append(torch.autograd._get_sequence_nr())  # type: ignore[attr-defined]
        self._marked.append(self._parts[-1])

    def _part(self) -> tuple[str, bool]:
        """Of what runs now, and whether that is a backward pass: its nodes are numbered as the forward made them."""
        node = torch._C._current_autograd_node()
        if node is None:
            return self._parts[-1], False
        at = bisect_right(self._marks, node._sequence_nr()) - 1
        return (self._marked[at] if 0 <= at < len(self._marked) - 1 else self._parts[-1]), True

    def recurrence(self, of: Recurrence) -> None:
        """Enter a pass of a recurrent layer: one kernel, whose positions wait for each other."""
        part, _ = self._part()
        name = f"cudnn_{of.kind}{'_backward' if of.backward else ''}"
        self.account.kernels.append(
            Kernel(name, part, of.backward, of.traffic, of.flops, of.dtype, positions=of.positions, width=of.width)
        )

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        taken = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        here = [tensor for tensor in (*taken, *made) if tensor.device.type == self._device]
        if here and func.namespace not in ("prim", "prims"):
            name = func._schema.name.partition("::")[2]
            self._compare_devices(name, taken, made)
            if _launches(func, name):
                self._enter(func, name, args, kwargs, out, taken, made)
        for tensor in made:
            self._see(tensor)
        if self._now > self.account.peak:
            self.account.peak, self.account.at_peak = self._now, list(self._held.values())
        return out

    def _enter(
        self, func: Any, name: str, args: Any, kwargs: Any, out: Any, taken: list[Tensor], made: list[Tensor]
    ) -> None:
        read = taken[1:] if name in WRITE_ONLY else taken
        traffic = sum(_touched(tensor) for tensor in (*read, *made))
        flops, dtype = 0, torch.float32
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            flops, dtype = int(formula(*args, **kwargs, out_val=out)), taken[-1].dtype
        part, backward = self._part()
        self.account.kernels.append(Kernel(name, part, backward, traffic, flops, dtype, _launch_count(name, args)))

    def _compare_devices(self, name: str, taken: list[Tensor], made: list[Tensor]) -> None:
        others = [tensor for tensor in (*taken, *made) if tensor.device.type != self._device and tensor.dim() > 0]
        if others:
            (self.account.copies if name in COPIES else self.account.mixed)[f"{name} at {caller()}"] += 1

    def _see(self, tensor: Tensor) -> Allocation | None:
        if tensor.device.type != self._device:
            return None
        storage = tensor.untyped_storage()
        known = self._held.get(storage._cdata)
        if known is not None:
            return known
        address = storage._cdata
        made = Allocation(storage.nbytes(), self._part()[0], weakref.ref(storage, lambda _: self._forget(address)))
        self._held[address] = made
        self._now += made.nbytes
        return made

    def _forget(self, address: int) -> None:
        """The memory there was given back: the Python object of a storage lives as long as the storage does."""
        self._now -= self._held.pop(address).nbytes


def _launches(func: Any, name: str) -> bool:
    is_view = any(each.alias_info is not None and not each.alias_info.is_write for each in func._schema.returns)
    return not (is_view or name in WITHOUT_KERNEL)


def _launch_count(name: str, args: Any) -> int:
    """1, or what torch makes of a list of tensors."""
    if not (name.startswith(("_foreach_", "_fused_")) and args and isinstance(args[0], (list, tuple))):
        return 1
    blocks = sum(-(-tensor.numel() // MULTI_TENSOR_CHUNK) for tensor in args[0])
    return int(max(1, -(-blocks // MULTI_TENSOR_BLOCKS)))


def _touched(tensor: Tensor) -> int:
    """[bytes] of a tensor; of one that repeats itself those that there are."""
    touched: int = min(tensor.nbytes, tensor.untyped_storage().nbytes())
    return touched

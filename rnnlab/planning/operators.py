"""Launches and traffic of a step by the class of its operators: what fusing one of them could save at most."""

from collections.abc import Sequence
from dataclasses import dataclass

from rnnlab.planning.tracker import Kernel

BY_NAME = {
    "LayerNorm": ("native_layer_norm",),
    "dropout": ("threshold",),
    "casts": ("_to_copy",),
    "recurrence": ("cudnn_", "linear_recurrence"),
}
BY_PART = {
    "optimizer": "optimizer",
    "feed-forward": "feed-forward, between products",
    "attention": "attention, between products",
}
PRODUCTS, OTHER = "products", "other"
CLASSES = ("recurrence", PRODUCTS, "LayerNorm", "dropout", *BY_PART.values(), "casts", OTHER)


@dataclass(frozen=True)
class Share:
    """Of one class in a step."""

    launches: int
    traffic: int  # [bytes] read and written
    flops: int  # of products


def by_class(kernels: Sequence[Kernel]) -> dict[str, Share]:
    """Every kernel in one of CLASSES, in that order; classes without a kernel are left out."""
    found: dict[str, Share] = {}
    for name in CLASSES:
        own = [kernel for kernel in kernels if _class_of(kernel) == name]
        if own:
            found[name] = Share(
                sum(kernel.launches for kernel in own),
                sum(kernel.traffic for kernel in own),
                sum(kernel.flops for kernel in own),
            )
    return found


def _class_of(kernel: Kernel) -> str:
    if kernel.part == "optimizer":
        return BY_PART["optimizer"]
    named = [name for name, starts in BY_NAME.items() if kernel.name.startswith(starts)]
    if named:
        return named[0]
    return PRODUCTS if kernel.flops else BY_PART.get(kernel.part, OTHER)

"""Every kernel belongs to one class."""

import torch

from rnnlab.planning.operators import Share, by_class
from rnnlab.planning.tracker import Kernel


def kernel(name: str, part: str = "wiring", flops: int = 0) -> Kernel:
    return Kernel(name, part, False, 100, flops, torch.float32)


def test_the_classes_share_out_what_a_step_launches_and_moves() -> None:
    kernels = [
        kernel("native_layer_norm"),
        kernel("native_layer_norm_backward"),
        kernel("threshold", "attention"),
        kernel("bmm", "attention", flops=7),
        kernel("_softmax", "attention"),
        kernel("_foreach_add_", "optimizer"),
        kernel("cudnn_lstm", "core", flops=5),
        kernel("mul", "feed-forward"),
        kernel("embedding", "head"),
    ]
    found = by_class(kernels)
    assert found["LayerNorm"] == Share(2, 200, 0)
    assert found["products"] == Share(1, 100, 7)
    assert found["recurrence"] == Share(1, 100, 5)
    assert list(found) == ["recurrence", "products", "LayerNorm", "dropout", "optimizer",
                           "feed-forward, between products", "attention, between products", "other"]  # fmt: skip
    assert sum(share.traffic for share in found.values()) == 900

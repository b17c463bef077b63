"""Attention over keys that are padded for a GPU's sake."""

import pytest
import torch
import torch.nn.functional as F

from rnnlab.ops.window import NO_PADDING, _padding, attention_read, attention_weights, hidden_from


@pytest.mark.parametrize("padding", [(1, 2), (5, 0), (0, 7)])
@pytest.mark.parametrize("heads", [1, 2])
def test_padded_keys_change_neither_the_answer_nor_a_mask_nor_a_gradient(heads: int, padding: tuple[int, int]) -> None:
    q, source = (torch.randn(6, 3, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    memory, grad = torch.randn(11, 3, 8, dtype=torch.float64), torch.randn(6, 3, 8, dtype=torch.float64)
    hidden = hidden_from(6, 11, 12, memory.device)
    found = []
    for pads in ((0, 0), padding):
        torch.manual_seed(1)
        weights = attention_weights(q, source, memory, F.pad(hidden, pads, value=True), heads, pads)
        y = attention_read(weights, source, memory, 0.4, pads)
        found.append((y, *torch.autograd.grad(y, (q, source), grad)))
        assert weights.shape == (3, heads, 6, 17 + sum(pads))
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want)


def test_rows_of_keys_are_aligned_on_a_gpu_in_half_precision_alone() -> None:
    """The meta device stands for a GPU. A window of 5,000 remembers 4,999, and with jitter a chunk has any length."""
    for dtype, device, padding in (
        (torch.bfloat16, "meta", (1, 7)),
        (torch.float16, "meta", (1, 7)),
        (torch.float32, "meta", NO_PADDING),
        (torch.bfloat16, "cpu", NO_PADDING),
    ):
        source, memory = (torch.empty(n, 2, 8, dtype=dtype, device=device) for n in (1017, 4999))
        assert _padding(source, memory) == padding

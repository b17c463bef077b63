"""The SHA-RNN's activation."""

import torch
from torch import Tensor


def gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x). Source: Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2 (the sigmoid approximation)."""
    return x * torch.sigmoid(1.702 * x)

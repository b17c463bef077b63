"""What a prediction costs [nats], by the logits that it was made with."""

import math

import torch.nn.functional as F
from torch import Tensor

from rnnlab.data.source import Read

LN2 = math.log(2.0)


def cross_entropy(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """logits (T, B, V), targets (T, B) -> [nats], in at least single precision."""
    flat = logits.flatten(0, 1)
    return F.cross_entropy(flat.float() if flat.dtype.itemsize < 4 else flat, targets.flatten(), reduction=reduction)


def weighted_cross_entropy(logits: Tensor, read: Read) -> Tensor:
    """The sum over what is asked [nats]; logits are those of the positions that are."""
    assert read.weights is not None
    each = cross_entropy(logits.view(1, -1, logits.shape[-1]), read.answers(read.targets), reduction="none")
    return (each * read.answers(read.weights)).sum()


def right_answers(logits: Tensor, read: Read) -> Tensor:
    """bool (n,): where something is asked, whether the likeliest token is the answer."""
    return logits.view(-1, logits.shape[-1]).argmax(-1) == read.answers(read.targets)

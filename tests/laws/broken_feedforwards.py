"""Feed-forwards, each broken in one way."""

import copy
import random
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.testing.small import TwoLayers
from tests.laws.honest_parts import Gained


class LooksAtItsNeighbor(TwoLayers):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0.1 * torch.cat([torch.zeros_like(x[:1]), x[:-1]])


class DropsInEvaluation(TwoLayers):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(super().forward(x), self.dropout, training=True)


class IgnoresItsDropout(TwoLayers):
    def __init__(self, dim: int, dropout: float = 0.0) -> None:
        super().__init__(dim)


class DropsUncalled(TwoLayers):
    """Drops in training whatever its argument says."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.dropout(x, 0.1, self.training))


class DrawsUnseeded(TwoLayers):
    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.dropout:
            source = torch.Generator().manual_seed(random.SystemRandom().randrange(2**31))
            x = x * (torch.rand(x.shape, generator=source) > self.dropout)
        return super().forward(x)


class DropsByPlaceInTheBatch(TwoLayers):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.dropout(x, self.dropout, self.training))


class FoldsWrong(Gained):
    def fold(self) -> Self:
        folded = copy.deepcopy(self)
        folded.gains = nn.Parameter(self.gains.detach()[:1])
        return folded


class FoldsNothing(Gained):
    def fold(self) -> Self:
        return copy.deepcopy(self)


class FoldsItself(Gained):
    def fold(self) -> Self:
        self.gains = nn.Parameter(self.gains.detach().prod(0, keepdim=True))
        return self

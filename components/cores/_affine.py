"""The projection that recurrent cores are made of."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Affine(nn.Module):
    """y = W x + b with W and b drawn uniformly from [-bound, bound].

    Not an nn.Linear, because the model redraws those: a recurrent core keeps the initialization of its own.
    """

    def __init__(self, inputs: int, outputs: int, bound: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

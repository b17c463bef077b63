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


def in_one_product(x: Tensor, *layers: Affine | Tensor) -> Tensor:
    """What the layers make of x (T, B, E), side by side (T, B, outputs of all): one large product is the faster.

    A tensor stands for the weight (outputs, E) of a layer without a bias.
    """
    weights = [layer if isinstance(layer, Tensor) else layer.weight for layer in layers]
    biases = [layer.new_zeros(len(layer)) if isinstance(layer, Tensor) else layer.bias for layer in layers]
    return F.linear(x, torch.cat(weights), torch.cat(biases))

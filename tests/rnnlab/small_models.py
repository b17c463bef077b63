"""A model of few numbers, gradients drawn for it, and steps taken with them."""

from collections.abc import Iterable

import torch
from torch import nn


def small_model(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3)).to(dtype)


def give_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def take_steps(model: nn.Module, optimizer: torch.optim.Optimizer, seeds: Iterable[int]) -> None:
    for seed in seeds:
        give_gradients(model, seed)
        optimizer.step()

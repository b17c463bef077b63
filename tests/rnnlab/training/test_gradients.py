"""Gradients measured together and by part, clipped, and left alone where they are not finite."""

import math

import pytest
import torch
from torch import nn

from rnnlab.training import gradients
from tests.rnnlab.small_models import give_gradients, small_model


def test_global_norm_is_the_norm_of_everything_together() -> None:
    grads = [torch.tensor([3.0]), torch.tensor([[0.0, 4.0]])]
    assert gradients.global_norm(grads).item() == pytest.approx(5.0)


@pytest.mark.parametrize("bound", [1.0, 100.0])
def test_clipping_scales_down_to_the_bound_and_never_up(bound: float) -> None:
    model = small_model(torch.float64)
    give_gradients(model, 1)
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    norm = gradients.global_norm(grads)
    gradients.clip_gradients(grads, norm, bound)
    assert gradients.global_norm(grads).item() == pytest.approx(min(bound, norm.item()))


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_clipping_does_not_spread_a_gradient_that_is_not_finite(poison: float) -> None:
    grads = [torch.ones(3), torch.tensor([1.0, poison])]
    norm = gradients.global_norm(grads)
    assert not norm.isfinite()
    gradients.clip_gradients(grads, norm, 0.25)
    assert torch.equal(grads[0], torch.ones(3))


def test_norms_are_reported_by_part() -> None:
    model = nn.ModuleDict(
        {
            "embedding": nn.Embedding(3, 2),
            "blocks": nn.ModuleList([nn.ModuleDict({"core": nn.Linear(2, 2), "norm": nn.LayerNorm(2)})]),
        }
    )
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    norms = gradients.norms_by_part(model.named_parameters())
    expected = {"embedding": 6, "blocks.0.core": 6, "blocks.0.norm": 4}
    assert norms == {part: pytest.approx(math.sqrt(count)) for part, count in expected.items()}

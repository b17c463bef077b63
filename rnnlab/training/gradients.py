"""Gradients between the backward pass and the step: measured and clipped on their device, and told apart by part."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def global_norm(grads: list[Tensor]) -> Tensor:
    """Euclidean norm of all gradients together, on their device, 0-dim; not finite if one of them is not."""
    return torch.nn.utils.get_total_norm(grads)


def clip_gradients(grads: list[Tensor], norm: Tensor, bound: float) -> None:
    """Scale the gradients in place so that their `global_norm`, passed in, is at most `bound`.

    A norm that is not finite leaves them as they are: one NaN does not become many, and its origin can still be found.
    """
    factor = torch.where(norm.isfinite(), (bound / (norm + 1e-6)).clamp(max=1.0), 1.0)
    torch._foreach_mul_(grads, factor)


def norms_by_part(named_parameters: Iterable[tuple[str, nn.Parameter]]) -> dict[str, float]:
    """Norm of the gradient of each part: {"embedding": ..., "blocks.2.core": ...}. Waits for the device."""
    grads: dict[str, list[Tensor]] = {}
    for name, parameter in named_parameters:
        if parameter.grad is not None:
            grads.setdefault(_part_of(name), []).append(parameter.grad)
    return {part: float(global_norm(of_part)) for part, of_part in grads.items()}


def _part_of(name: str) -> str:
    """`decoder.bias` -> `decoder`; `blocks.2.core.weight` -> `blocks.2.core`, since a layer is more than one part."""
    path = name.split(".")
    depth = 3 if len(path) > 2 and path[1].isdigit() else 1
    return ".".join(path[: min(depth, max(1, len(path) - 1))])

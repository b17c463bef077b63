"""An optimizer's memory as tensors of a checkpoint, and back."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from rnnlab.errors import StorageError


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, named_parameters: Iterable[tuple[str, nn.Parameter]]
) -> dict[str, Tensor]:
    """The optimizer's memory as {"<parameter>/<slot>": tensor}, for a checkpoint; the tensors are not copied."""
    found = {}
    for name, parameter in named_parameters:
        for slot, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                assert isinstance(value, Tensor), f"{name}/{slot} is a {type(value).__name__}"
                found[f"{name}/{slot}"] = value
    return found


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer,
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    tensors: Mapping[str, Tensor],
) -> None:
    """Give a new optimizer the memory of one that was saved by `optimizer_tensors`; copies, dtypes kept.

    Raises: StorageError naming the first tensor that belongs to no parameter or has another shape than it.
    """
    parameters = dict(named_parameters)
    fused = {p: bool(group.get("fused")) for group in optimizer.param_groups for p in group["params"]}
    optimizer.state.clear()
    for key, tensor in tensors.items():
        name, _, slot = key.rpartition("/")
        parameter = parameters.get(name)
        if parameter is None or parameter not in fused:
            raise StorageError(
                f"the saved optimizer has {key!r} and the model no such parameter; it is another model's"
            )
        found, needed = tuple(tensor.shape), tuple(parameter.shape)
        if found not in (needed, ()):  # a step counter has no dimensions
            raise StorageError(f"the saved optimizer's {key!r} is {found} where the parameter is {needed}")
        counter_on_host = slot == "step" and not fused[parameter]  # where torch's optimizers that are not fused look
        device = torch.device("cpu") if counter_on_host else parameter.device
        optimizer.state[parameter][slot] = tensor.to(device, copy=True)

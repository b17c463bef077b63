"""torch's optimizers without torch's compiler.

The methods of `torch.optim.Optimizer` import torch._dynamo when they are first called, so that it leaves them out of
what it compiles. That takes longer than many a run, and what we compile is the model alone.
"""

import inspect
from typing import Any

import torch


class Eager:
    """In front of a `torch.optim.Optimizer` among the bases: the same methods, without that import."""

    add_param_group: Any = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad: Any = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict: Any = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict: Any = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


def eager_step(optimizer: type[torch.optim.Optimizer]) -> Any:
    """The `step` of one of torch's optimizers in the same way; what is `differentiable` there is not here."""
    return torch.no_grad()(inspect.unwrap(optimizer.step))

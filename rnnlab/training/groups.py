"""Which parameters the weight decay takes, and which learn at another rate: one rule for every optimizer.

An optimizer is made over all parameters at once; its groups are then split. Without either option nothing is split.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from rnnlab.errors import ConfigError
from rnnlab.registry import did_you_mean

DecayOn = Literal["all", "matrices"]


@dataclass(frozen=True)
class Group:
    """Parameters that are treated alike."""

    names: tuple[str, ...]
    size: int  # numbers in them
    is_decayed: bool  # whether the optimizer's weight decay takes them
    lr_factor: float  # on the optimizer's learning rate
    entry: str | None  # of `Trainer.lr_factors`, where the factor stands; None for those that no entry names


def check_lr_factors(lr_factors: Mapping[str, float]) -> None:
    """Raises: ConfigError for a factor that is not a positive number."""
    for entry, factor in lr_factors.items():
        if not 0.0 < factor < math.inf:
            # Not 0 for a part that stays as it is: its gradient would still count in the norm that is clipped.
            raise ConfigError(f"Trainer.lr_factors: {entry!r}: {factor}: more than 0")


def grouped(
    named_parameters: Iterable[tuple[str, nn.Parameter]], decay_on: DecayOn, lr_factors: Mapping[str, float]
) -> list[Group]:
    """The parameters by what holds for them, in the order in which they come.

    Args:
        decay_on: "matrices" spares what has fewer than two dimensions: biases, gains, decays of a state. All others
            are decayed, the embedding and the kernels of short convolutions among them.
        lr_factors: {entry: factor}. An entry is one segment or several of a parameter's name: "core",
            "blocks.3.attention", "bias". Of several that name a parameter the one of most segments holds, and of as
            long ones that which ends later in the name.
    Raises: ConfigError for an entry that holds for no parameter.
    """
    found: dict[tuple[bool, str | None], dict[str, int]] = {}
    for name, parameter in named_parameters:
        is_decayed = decay_on == "all" or parameter.dim() >= 2
        found.setdefault((is_decayed, _entry_of(name, lr_factors)), {})[name] = parameter.numel()
    _check_held(lr_factors, {entry for _, entry in found}, [name for sizes in found.values() for name in sizes])
    return [
        Group(tuple(sizes), sum(sizes.values()), is_decayed, 1.0 if entry is None else lr_factors[entry], entry)
        for (is_decayed, entry), sizes in found.items()
    ]


def _entry_of(name: str, entries: Iterable[str]) -> str | None:
    ends = {entry: end for entry in entries if (end := _end(name, entry))}
    return max(ends, key=lambda entry: (entry.count("."), ends[entry]), default=None)


def _end(name: str, entry: str) -> int:
    """After how many segments of the name its last mention of the entry ends; 0 if there is none."""
    path, wanted = name.split("."), entry.split(".")
    return next((end for end in range(len(path), len(wanted) - 1, -1) if path[end - len(wanted) : end] == wanted), 0)


def _check_held(entries: Iterable[str], held: set[str | None], names: Sequence[str]) -> None:
    for entry in entries:
        if entry in held:
            continue
        if any(_end(name, entry) for name in names):
            raise ConfigError(f"Trainer.lr_factors: {entry!r} has no effect: other entries hold for all that it names")
        segments = sorted({part for name in names for part in name.split(".") if not part.isdigit()})
        near = did_you_mean(entry, [*segments, *(".".join(name.split(".")[:end]) for name in names for end in (2, 3))])
        raise ConfigError(
            f"Trainer.lr_factors: {entry!r} is in the name of no parameter; there are {', '.join(segments)}{near}"
        )


def split_groups(
    optimizer: torch.optim.Optimizer, named_parameters: Iterable[tuple[str, nn.Parameter]], groups: Sequence[Group]
) -> None:
    """Split the groups of a new optimizer, in place; one that treats all its parameters alike stays as it was made.

    Raises: ConfigError if parameters are to be spared by an optimizer that has no weight decay.
    """
    if all(group.is_decayed and group.entry is None for group in groups):
        return
    number = {name: i for i, group in enumerate(groups) for name in group.names}
    of = {parameter: number[name] for name, parameter in named_parameters}
    found: list[dict[str, Any]] = []
    for whole in optimizer.param_groups:
        if "weight_decay" not in whole and not all(group.is_decayed for group in groups):
            raise ConfigError(
                f"Trainer.weight_decay_on = 'matrices': {type(optimizer).__name__} has no weight decay; leave it 'all'"
            )
        for i, group in enumerate(groups):
            chosen = [k for k, parameter in enumerate(whole["params"]) if of[parameter] == i]
            if chosen:
                part = {**whole, "lr_factor": group.lr_factor}
                part |= {key: [whole[key][k] for k in chosen] for key in ("params", "param_names") if key in whole}
                found.append(part if group.is_decayed else {**part, "weight_decay": 0.0})
    optimizer.param_groups[:] = found


def told(groups: Sequence[Group]) -> dict[str, Any]:
    """For programs: {"parameters_decayed": numbers that the weight decay takes, "parameters_by_lr_factor": {entry:
    numbers that its factor holds for}}."""
    sizes: dict[str, int] = {}
    for group in groups:
        if group.entry is not None:
            sizes[group.entry] = sizes.get(group.entry, 0) + group.size
    decayed = sum(group.size for group in groups if group.is_decayed)
    return {"parameters_decayed": decayed, "parameters_by_lr_factor": sizes}


def told_in_words(groups: Sequence[Group], weight_decay: float) -> list[str]:
    """A line for each option that is not at its default."""
    facts, lines = told(groups), []
    if not all(group.is_decayed for group in groups):
        decayed, size = facts["parameters_decayed"], sum(group.size for group in groups)
        lines = [f"weight decay {weight_decay:g} on {decayed:,} of {size:,} parameters, the matrices"]
    factors = {group.entry: group.lr_factor for group in groups}
    held = [f"{n:,} of {entry} times {factors[entry]:g}" for entry, n in facts["parameters_by_lr_factor"].items()]
    return [*lines, *([f"learning rate: {', '.join(held)}"] if held else [])]

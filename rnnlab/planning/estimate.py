"""From what a step asks for to seconds: a roofline over its kernels, whose constants stand in rnnlab.planning.cards.

A kernel takes the longest of its launch, its traffic at the card's bandwidth and its products at the card's FLOP/s. A
recurrent layer takes its positions one by one besides. Kernels do not overlap.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from rnnlab.planning.cards import BANDWIDTH_SHARE, GRU_SHARE, NARROW_SHARE, Card
from rnnlab.planning.tracker import Kernel
from rnnlab.training.evaluations import EvaluationPlan

FORWARD_SHARE = 1 / 3  # of the seconds of a position: the backward pass has two products a weight
WIDTH = 1024  # at which the table has the seconds of a position


@dataclass(frozen=True)
class Seconds:
    """Of one step, or one chunk of an evaluation, by what bounds them [s]."""

    traffic: float  # kernels that wait for memory
    products: float
    launches: float  # kernels too small to count otherwise
    positions: float  # of recurrent layers, one after the other
    exchange: float = 0.0  # of gradients between ranks

    @property
    def total(self) -> float:
        return self.traffic + self.products + self.launches + self.positions + self.exchange


def seconds_of(kernels: Iterable[Kernel], card: Card, precision: str) -> Seconds:
    """What these kernels take on a card, in a run of that precision."""
    found = {"traffic": 0.0, "products": 0.0, "launches": 0.0, "positions": 0.0}
    for kernel in kernels:
        bounds = {
            "traffic": kernel.traffic / (BANDWIDTH_SHARE * card.bandwidth),
            "products": kernel.flops / card.matrix(_precision(kernel, precision)),
            "launches": kernel.launches * card.launch,
        }
        bound = max(bounds, key=lambda name: bounds[name])
        found[bound] += bounds[bound]
        found["positions"] += _sequence(kernel, card)
    return Seconds(**found)


def exchange(gradients: int, ranks: int, card: Card) -> float:
    """[s] in which so many ranks average gradients [bytes], in a ring; as if nothing else went on meanwhile."""
    return 2 * (ranks - 1) / ranks * gradients / card.link


def steps_of(budget: int, bytes_a_step: int) -> int:
    return math.ceil(budget / bytes_a_step)


def bytes_scored(plan: EvaluationPlan, budget: int, valid: int, test: int) -> int:
    """[bytes] that a run scores from its beginning to its result."""
    points = max(1, math.ceil(budget / plan.every))
    return points * (valid if plan.valid is None else plan.valid) + bytes_tested(plan, test)


def bytes_tested(plan: EvaluationPlan, test: int) -> int:
    """[bytes] that a run scores of the test split, at its end."""
    return test if plan.test is None else plan.test


def _precision(kernel: Kernel, of_run: str) -> str:
    if kernel.dtype in (torch.bfloat16, torch.float16):
        return "fp16" if kernel.dtype == torch.float16 else "bf16"
    return "tf32" if of_run == "tf32" else "fp32"


def _sequence(kernel: Kernel, card: Card) -> float:
    """Positions that wait for each other."""
    if not kernel.positions:
        return 0.0
    both = card.position_fp32 if kernel.dtype == torch.float32 else card.position
    if "gru" in kernel.name:
        both = GRU_SHARE * card.position_fp32
    share = 1.0 - FORWARD_SHARE if kernel.backward else FORWARD_SHARE
    return kernel.positions * share * both * max(NARROW_SHARE, (kernel.width / WIDTH) ** 2)

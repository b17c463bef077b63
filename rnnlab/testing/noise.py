"""Laws about chance: training may draw noise, evaluating may not, and all of it follows from the seed."""

from typing import Any

import torch

from rnnlab.ops import dropout
from rnnlab.state import select_batch
from rnnlab.testing.case import DROPOUT_WORD, NOISE_WORDS, Case, Subject
from rnnlab.testing.modules import MODULES, law

T, B = 12, 3


def has_noise(subject: Subject) -> bool:
    return bool(subject.noises)


@law(*MODULES)
def train_is_eval_without_noise(subject: Subject) -> None:
    """With every dropout at 0, training mode and evaluation mode give the same y."""
    case = subject.case(T, B)
    inputs, warm = case.inputs(), case.warm()
    want, end = case.run(inputs, warm)
    case.module.train()
    got, last = case.run(inputs, warm)
    hint = "" if subject.noises else f" (an argument that draws noise is known by {', '.join(NOISE_WORDS)} in its name)"
    case.agree(got, want, f"without noise, y in training is not y in evaluation{hint}")
    case.states_agree(last, end, f"without noise, the state in training is not the state in evaluation{hint}")


@law(*MODULES, applies=has_noise)
def noise_is_for_training(subject: Subject) -> None:
    """Each noise acts in training; evaluation draws none, and with dropout it is what it is without."""
    calm = subject.case(T, B)
    inputs, warm = calm.inputs(), calm.warm()
    want = calm.run(inputs, warm)[0]
    for name in subject.noises:
        noisy = _with_noise(subject, [name])
        first, second = noisy.run(inputs, warm)[0], noisy.run(inputs, warm)[0]
        noisy.agree(second, first, f"in evaluation, y with {name} 0.5 differs from call to call", 0.0)
        if DROPOUT_WORD in name:
            noisy.agree(first, want, f"in evaluation, y with {name} 0.5 is not y with {name} 0")
        noisy.module.train()
        if torch.allclose(noisy.run(inputs, warm)[0], first):
            noisy.refuse(f"in training, {name} 0.5 does nothing")


@law(*MODULES)
def same_seed_same_part(subject: Subject) -> None:
    """What is random, at construction and in training, follows from torch's seed alone."""
    case = _with_noise(subject, subject.noises)
    first, second = (subject.build(case.setting).state_dict() for _ in range(2))
    for name, tensor in first.items():
        case.agree(tensor, second[name], f"built twice under one seed, {name} differs", 0.0)
    inputs, warm = case.inputs(), case.warm()
    case.module.train()
    got, want = (_seeded(case, inputs, warm) for _ in range(2))
    case.agree(got, want, "trained twice under one seed, y differs", 0.0)


@law(*MODULES, applies=has_noise)
def noise_follows_the_sequence(subject: Subject) -> None:
    """A sequence gets the same noise whether it is computed among others or alone: ranks may share the batch."""
    for name in subject.noises:
        case = _with_noise(subject, [name])
        inputs, warm = case.inputs(), case.warm()
        case.module.train()
        want = _seeded(case, inputs, warm)
        which = slice(1, B)
        dropout.set_batch_offset(which.start)
        try:
            got = _seeded(case, tuple(tensor[:, which] for tensor in inputs), select_batch(warm, which))
        finally:
            dropout.set_batch_offset(0)
        claim = (
            f"under one seed, {name} hits sequences 1 and 2 otherwise without sequence 0; draw with rnnlab.ops.dropout"
        )
        case.agree(got, want[:, which], claim)


def _with_noise(subject: Subject, names: list[str]) -> Case:
    arguments: dict[str, Any] = dict.fromkeys(names, 0.5)
    return subject.case(T, B, torch.float64, **arguments)


def _seeded(case: Case, inputs: tuple[torch.Tensor, ...], state: object) -> torch.Tensor:
    torch.manual_seed(case.setting.seed + 1)
    return case.run(inputs, state)[0]

"""What a model does with the examples of a task: where it looks, and where its answers are right."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnlab.data.task_source import TaskSource
from rnnlab.matmul import products_in
from rnnlab.model import LanguageModel
from rnnlab.views.findings import Floats
from rnnlab.views.watching import PlaceInModel, watching

EXAMPLES = 256  # that shares are taken over
LONGEST_SHOWN = 64  # [positions] of an example whose every token is to be read in a picture


@dataclass(frozen=True)
class ShownExample:
    """One test example, with what the model answered and where each layer looked."""

    tokens: list[int]  # (L)
    asked: list[bool]  # (L)
    targets: list[int]  # (L)
    answers: list[int]  # (L) the likeliest token at each position
    attention: dict[int, Floats]  # {layer: (L, L)}: what share of its attention each row gives to each column


@dataclass(frozen=True)
class TaskFindings:
    """What was seen."""

    task: str
    difficulty: str  # what a difficulty counts
    at: int
    layers: int
    examples: int
    chance: float
    accuracy: float  # on what is judged
    accuracy_by_position: dict[int, float]  # {position: share of right answers}, where enough examples ask
    example: ShownExample
    attention_by_distance: dict[int, Floats]  # {layer: (L)}: mean share from what is asked to so many positions back


def default_difficulty(source: TaskSource) -> int:
    """The greatest that is trained on and still can be read in a picture; else the least."""
    shown = [each for each in source.task.trained if source.length(each) <= LONGEST_SHOWN]
    return max(shown) if shown else min(source.task.trained)


def examine_task(model: LanguageModel, source: TaskSource, at: int) -> TaskFindings:
    """Let `model`, in eval mode, answer test examples at one difficulty; it is left as it was."""
    task = source.task
    made = source.make("test", at, np.arange(EXAMPLES))
    seen: dict[int, Tensor] = {}
    device = next(model.parameters()).device
    tokens = torch.from_numpy(np.ascontiguousarray(made.inputs.T)).to(device)

    def see(place: PlaceInModel, attention: Any, weights: Tensor) -> None:
        """Keep the mean over heads, (N, L, L)."""
        seen[place.layer] = weights.mean(1).cpu()

    with torch.no_grad(), products_in("fp32"), watching(model, attention=see):
        logits, _ = model(tokens, model.initial_state(EXAMPLES))
    answers = logits.argmax(-1).t().cpu().numpy()  # (N, L)
    asked = made.weights > 0
    right = (answers == made.targets) & asked
    is_last = task.judged == "last"
    enough = [position for position in range(asked.shape[1]) if asked[:, position].sum() >= EXAMPLES // 8]
    return TaskFindings(
        task=source.name,
        difficulty=task.difficulty,
        at=at,
        layers=len(model.blocks),
        examples=EXAMPLES,
        chance=task.chance(at),
        accuracy=float(right[:, -1].mean() if is_last else right.sum() / asked.sum()),
        accuracy_by_position={p: float(right[:, p].sum() / asked[:, p].sum()) for p in enough},
        example=ShownExample(
            tokens=made.inputs[0].tolist(),
            asked=asked[0].tolist(),
            targets=made.targets[0].tolist(),
            answers=answers[0].tolist(),
            attention={layer: weights[0].numpy() for layer, weights in seen.items()},
        ),
        attention_by_distance={layer: _by_distance(weights.numpy(), asked) for layer, weights in seen.items()},
    )


def _by_distance(weights: Floats, asked: Any) -> Floats:
    """(N, L, L), (N, L) -> (L): the mean over what is asked."""
    length = weights.shape[1]
    total = np.zeros(length)
    for position in range(length):
        rows = weights[asked[:, position], position, : position + 1]
        total[: position + 1] += rows.sum(axis=0)[::-1]
    found: Floats = total / asked.sum()
    return found

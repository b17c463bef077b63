"""Dynamic evaluation: a model that goes on learning while it is scored, from what was scored before."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rnnlab.data.source import Portion, Read
from rnnlab.errors import ConfigError, Diverged
from rnnlab.matmul import products_in
from rnnlab.registry import configurable
from rnnlab.scoring.forecaster import Forecaster
from rnnlab.scoring.losses import cross_entropy
from rnnlab.state import State, detach


@configurable
@dataclass(frozen=True)
class Dynamic:
    """How a model learns from a text while it is scored: after each chunk one step on the chunk's mean loss.

    Source: Krause et al. 2018, arXiv:1709.07432, sections 3 and 4; w_0 are the trained weights, MS the mean square of
    each gradient over the training split with these weights, g the gradient of the chunk that was scored last.
        sgd:  w -= rate g,  w += decay (w_0 - w)
        rms:  w -= rate g / (sqrt(MS) + epsilon),  w += min(1, decay RMS_norm) (w_0 - w),
              RMS_norm = sqrt(MS) / mean(sqrt(MS)), the mean over all weights
    Args:
        rule: "sgd", or "rms", which moves and decays each weight by how much it moved in training.
        rate: of the step, > 0.
        decay: pull to the trained weights at each step, in [0, 1].
        epsilon: added to sqrt(MS), > 0.
        bptt: positions of a chunk, that gradients reach back and that pass between two steps [positions].
        statistics: MS is the mean over the first so many bytes of the training split [bytes].
    Raises: ConfigError if an argument is out of its range.
    Differs: the decay is to the weights after the step, and plain SGD may decay too.
    """

    rule: Literal["sgd", "rms"] = "rms"
    rate: float = 3e-4
    decay: float = 0.0
    epsilon: float = 1e-5
    bptt: int = 32
    statistics: int = 200_000

    def __post_init__(self) -> None:
        for name in ("rate", "epsilon"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ConfigError(f"Dynamic.{name} = {getattr(self, name)}: more than 0")
        if not 0.0 <= self.decay <= 1.0:
            raise ConfigError(f"Dynamic.decay = {self.decay}: in [0, 1]")
        for name, least in (("bptt", 2), ("statistics", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"Dynamic.{name} = {getattr(self, name)}: at least {least}")

    @property
    def needs_statistics(self) -> bool:
        """Whether the training split has to be there."""
        return self.rule == "rms"


def mean_squares(model: nn.Module, part: Portion, bptt: int) -> dict[str, Tensor]:
    """By the name of a parameter, the mean over all chunks of the square of its gradient, its shape.

    The gradient is that of a chunk's mean loss, in eval mode, with state and memory carried.
    """
    device = next(model.parameters()).device
    learner = DynamicForecaster(model, Dynamic(rule="sgd"))
    squares = {name: torch.zeros_like(p) for name, p in learner.parameters.items()}
    count = 0
    with learner:
        for chunk in part.chunks(bptt):
            read = part.reader.read(chunk).to(device)
            if chunk.position == 0:
                learner.begin(read.inputs.shape[1])
            gradients = learner.gradients(read)
            for square, gradient in zip(squares.values(), gradients, strict=True):
                square.addcmul_(gradient, gradient)
            count += 1
    return {name: square / max(count, 1) for name, square in squares.items()}


class DynamicForecaster(Forecaster):
    """A model in eval mode that takes a step after each chunk; behind the context it is as it was trained."""

    def __init__(self, model: nn.Module, rule: Dynamic, squares: Mapping[str, Tensor] | None = None) -> None:
        """Args:
        squares: `mean_squares` of the model; for the rule "rms".
        """
        super().__init__(model)
        self.rule, self.squares = rule, squares
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._trained: list[Tensor] = []
        self._graph: tuple[Tensor, State] | None = None  # of the chunk that was predicted: logits, the state after it
        self._scale: list[Tensor] = []  # 1 / (sqrt(MS) + epsilon)
        self._pull: list[Tensor] = []  # min(1, decay RMS_norm)
        if rule.needs_statistics:
            assert squares is not None, "the rule rms needs mean_squares"
            roots = [squares[name].sqrt() for name in self.parameters]
            total = sum(float(root.double().sum()) for root in roots)
            mean = total / sum(root.numel() for root in roots)
            self._scale = [1.0 / (root + rule.epsilon) for root in roots]
            self._pull = [(rule.decay / mean * root).clamp(max=1.0) if mean > 0 else root for root in roots]

    def __enter__(self) -> "DynamicForecaster":
        super().__enter__()
        self._trained = [p.detach().clone() for p in self.parameters.values()]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        with torch.no_grad():
            for parameter, trained in zip(self.parameters.values(), self._trained, strict=True):
                parameter.copy_(trained)
        self._graph = None
        super().__exit__(kind, error, trace)

    def told(self) -> dict[str, Any]:
        told = asdict(self.rule)
        return told if self.rule.needs_statistics else {key: told[key] for key in ("rule", "rate", "decay", "bptt")}

    def begin(self, batch: int) -> None:
        super().begin(batch)
        self._graph = None

    def predict(self, inputs: Tensor, *where: Tensor) -> Tensor:
        self._graph = self._through(inputs)
        return self._graph[0]

    def _through(self, inputs: Tensor) -> tuple[Tensor, State]:
        with torch.enable_grad(), products_in("fp32"):
            logits, state = self.model(inputs, self.state)
        return logits, state

    def learn(self, read: Read) -> None:
        """One step on the chunk. Raises: Diverged if the gradient is not finite."""
        self.update(self.gradients(read))

    def gradients(self, read: Read) -> list[Tensor]:
        """Of the mean loss of a chunk, by parameter; the state moves on behind the chunk."""
        logits, state = self._graph or self._through(read.inputs)  # read position by position, it has no graph
        with torch.enable_grad(), products_in("fp32"):
            loss = cross_entropy(logits, read.targets)
            found = torch.autograd.grad(loss, list(self.parameters.values()), allow_unused=True)
        self.state, self._stepping, self._graph = detach(state), None, None
        if not math.isfinite(float(loss.detach())):
            raise Diverged("dynamic evaluation: the loss is not finite; a smaller Dynamic.rate or more decay may help")
        return [torch.zeros_like(p) if g is None else g for p, g in zip(self.parameters.values(), found, strict=True)]

    @torch.no_grad()
    def update(self, gradients: list[Tensor]) -> None:
        """One step of the rule."""
        parameters: list[Tensor] = list(self.parameters.values())
        if self._scale:
            gradients = torch._foreach_mul(gradients, self._scale)  # type: ignore[assignment]
        torch._foreach_add_(parameters, gradients, alpha=-self.rule.rate)
        if self.rule.decay:
            away = list(torch._foreach_sub(self._trained, parameters))
            torch._foreach_mul_(away, self._pull if self._scale else self.rule.decay)
            torch._foreach_add_(parameters, away)

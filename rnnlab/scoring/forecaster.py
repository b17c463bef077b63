"""A model that reads sequences side by side and says what comes next."""

from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from rnnlab.data.source import Read
from rnnlab.generation import in_place
from rnnlab.matmul import for_many_shapes, products_in
from rnnlab.state import State, detach


class Forecaster:
    """The model as it is, with state and memory carried from chunk to chunk. It learns nothing from what it reads.

    Use it as a context: within it the model is in eval mode, and afterwards it is as it was before.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model
        self.state: State = None  # at the beginning of the chunk
        self._stepping: State = None  # within the chunk, where it is read position by position; nobody else's
        self._was_training = model.training

    def __enter__(self) -> Self:
        self._was_training = self.model.training
        self.model.eval()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.model.train(self._was_training)

    def told(self) -> dict[str, Any] | None:
        """How it learns from what was scored; None if it does not."""
        return None

    def begin(self, batch: int) -> None:
        """A reading begins, of so many sequences side by side."""
        self.state, self._stepping = self.model.initial_state(batch), None

    def predict(self, inputs: Tensor, *where: Tensor) -> Tensor:
        """A chunk at once: inputs (T, B) -> logits (T, B, V), or (n, V) where something is asked."""
        with torch.no_grad(), products_in("fp32"):
            logits, state = self.model(inputs, self.state, *where)
        self.state = detach(state)
        return logits  # type: ignore[no-any-return]

    def step(self, tokens: Tensor) -> Tensor:
        """The next position of the chunk: tokens (B,) -> logits (B, V)."""
        with torch.inference_mode(), for_many_shapes(), products_in("fp32"):
            if self._stepping is None:
                self._stepping = in_place(self.model, self.state)
            logits, self._stepping = self.model(tokens.unsqueeze(0), self._stepping)
        return logits[0]  # type: ignore[no-any-return]

    def learn(self, read: Read) -> None:
        """What was predicted is known by now, and scored."""

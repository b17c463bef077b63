"""The SHA-RNN in the plainest torch: what rnnlab is timed against, and a second opinion on its numbers.

Source: Merity 2019, arXiv:1911.11423, section 3. One operation after the other as the paper writes them: nn.LSTM,
nn.functional's dropout and softmax, keys and values gated and kept for the backward, a mask made anew for every chunk,
one tensor after the other in the optimizer. Nothing is fused, folded, cached or compiled.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.errors import ConfigError
from rnnlab.training.learner import Learner

State = list[tuple[Tensor, Tensor, Tensor | None]]
"""One (h, c, memory) a layer: (1, B, D), (1, B, D), and (M', B, D) or None."""

NAMES = {
    "core.lstm.": "lstm.",
    "attention.query.": "attention.to_query.",
    "attention.value_gate.v_gate": "attention.v_gate",
    "attention.value_gate.linear.": "attention.to_value_gate.",
    "feedforward.up.": "boom.",
    "output_bias": "decoder.bias",
}
"""rnnlab's names of parameters, and what stands in their place here."""


class Attention(nn.Module):
    """Single-headed attention over the memory; queries (T, B, D), keys (M' + T, B, D) -> (T, B, D)."""

    def __init__(self, dim: int, memory: int, dropout: float) -> None:
        super().__init__()
        self.dim, self.memory, self.dropout = dim, memory, dropout
        self.to_query = nn.Linear(dim, dim)
        self.query_norm = nn.LayerNorm(dim, eps=1e-12)
        self.q_gate, self.k_gate, self.v_gate = (nn.Parameter(torch.zeros(dim)) for _ in range(3))
        self.to_value_gate = nn.Linear(dim, 2 * dim)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        candidate, forget = self.to_value_gate(torch.sigmoid(self.v_gate)).chunk(2)
        q = torch.sigmoid(self.q_gate) * self.query_norm(self.to_query(queries))
        k = torch.sigmoid(self.k_gate) * keys
        v = torch.sigmoid(forget) * torch.tanh(candidate) * keys
        q, v = F.dropout(q, self.dropout, self.training), F.dropout(v, self.dropout, self.training)
        q, k, v = q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)
        scores = torch.matmul(q, k.transpose(1, 2)) / math.sqrt(self.dim) + self._mask(len(queries), len(keys), q)
        weights = F.dropout(F.softmax(scores, dim=-1), self.dropout, self.training)
        return torch.matmul(weights, v).transpose(0, 1)

    def _mask(self, queries: int, keys: int, like: Tensor) -> Tensor:
        """(T, M' + T): 0 where a query looks, -inf where it must not; query i stands at key M' + i."""
        mask = like.new_full((queries, keys), -math.inf)
        own = torch.arange(keys - queries, keys, device=like.device).unsqueeze(1)
        key = torch.arange(keys, device=like.device).unsqueeze(0)
        mask[(key <= own) & (key > own - self.memory)] = 0.0
        return mask


class Layer(nn.Module):
    """LSTM, attention if `memory` is given, Boom, between LayerNorms."""

    def __init__(self, dim: int, inner: int, memory: int | None, dropout: float) -> None:
        super().__init__()
        self.dim, self.dropout = dim, dropout
        self.start_norm, self.skip_norm, self.feedforward_norm = (nn.LayerNorm(dim, eps=1e-12) for _ in range(3))
        self.lstm = nn.LSTM(dim, dim)
        self.boom = nn.Linear(dim, inner)
        self.attention = None
        if memory is not None:
            self.query_norm, self.memory_norm = nn.LayerNorm(dim, eps=1e-12), nn.LayerNorm(dim, eps=1e-12)
            self.attention = Attention(dim, memory, dropout)

    def forward(self, x: Tensor, h: Tensor, c: Tensor, memory: Tensor | None) -> tuple[Tensor, Any]:
        x, (h, c) = self.lstm(self.start_norm(x), (h, c))
        x = self._drop(x)
        if self.attention is not None:
            assert memory is not None
            queries = self.query_norm(x)
            keys = torch.cat([memory, self.memory_norm(x)])
            x = self._drop(self.attention(queries, keys)) + queries
            memory = keys[max(0, len(keys) - self.attention.memory + 1) :]
        u = self.boom(self.feedforward_norm(x))
        u = self._drop(u * torch.sigmoid(1.702 * u))
        u = u.view(*u.shape[:2], -1, self.dim).sum(dim=2)
        return self._drop(u) + self.skip_norm(x), (h, c, memory)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class SHARNN(nn.Module):
    """tokens (T, B) -> logits (T, B, V). `memories` has an entry a layer: the window, or None without attention."""

    def __init__(self, vocabulary: int, dim: int, inner: int, memories: list[int | None], dropout: float) -> None:
        super().__init__()
        self.dim, self.dropout = dim, dropout
        self.embedding = nn.Embedding(vocabulary, dim)
        self.blocks = nn.ModuleList([Layer(dim, inner, memory, dropout) for memory in memories])
        self.decoder = nn.Linear(dim, vocabulary)
        self.decoder.weight = self.embedding.weight

    def initial_state(self, batch: int) -> State:
        weight = self.embedding.weight
        return [
            (
                weight.new_zeros(1, batch, self.dim),
                weight.new_zeros(1, batch, self.dim),
                None if layer.attention is None else weight.new_zeros(0, batch, self.dim),
            )
            for layer in self.blocks
        ]

    def forward(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        h = F.dropout(self.embedding(tokens), self.dropout, self.training)
        states = []
        for layer, layer_state in zip(self.blocks, state, strict=True):
            h, layer_state = layer(h, *layer_state)
            states.append(layer_state)
        return self.decoder(F.dropout(h, self.dropout, self.training)), states


class Lamb:
    """LAMB without bias correction and with a floor under the trust, one parameter after the other."""

    def __init__(self, parameters: list[nn.Parameter], weight_decay: float, min_trust: float, eps: float) -> None:
        self.parameters, self.weight_decay, self.min_trust, self.eps = parameters, weight_decay, min_trust, eps
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        for p, (mean, square) in zip(self.parameters, self.moments, strict=True):
            assert p.grad is not None
            mean.mul_(0.9).add_(p.grad, alpha=0.1)
            square.mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
            step = mean / (square.sqrt() + self.eps) + self.weight_decay * p
            length, step_length = float(p.norm().clamp(0.0, 10.0)), float(step.norm())
            trust = length / step_length if length > 0.0 and step_length > 0.0 else 1.0
            p.add_(step, alpha=-lr * max(trust, self.min_trust))


class AdamW:
    """Adam with decoupled weight decay. One parameter after the other."""

    def __init__(self, parameters: list[nn.Parameter], weight_decay: float, betas: tuple[float, float], eps: float):
        self.parameters, self.weight_decay, self.betas, self.eps = parameters, weight_decay, betas, eps
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
        self.steps = 0

    @torch.no_grad()
    def step(self, lr: float) -> None:
        self.steps += 1
        beta1, beta2 = self.betas
        for p, (mean, square) in zip(self.parameters, self.moments, strict=True):
            assert p.grad is not None
            p.mul_(1.0 - lr * self.weight_decay)
            mean.mul_(beta1).add_(p.grad, alpha=1.0 - beta1)
            square.mul_(beta2).addcmul_(p.grad, p.grad, value=1.0 - beta2)
            mean_hat, square_hat = mean / (1.0 - beta1**self.steps), square / (1.0 - beta2**self.steps)
            p.sub_(lr * mean_hat / (square_hat.sqrt() + self.eps))


class Muon:
    """torch's Muon for the matrices, torch's AdamW for the rest."""

    def __init__(self, model: SHARNN, matrices: dict[str, Any], others: dict[str, Any]) -> None:
        named = list(model.named_parameters())
        chosen = [p for name, p in named if p.dim() == 2 and "embedding" not in name]
        rest = [p for name, p in named if p.dim() != 2 or "embedding" in name]
        decay = {"weight_decay": matrices["weight_decay"], "momentum": matrices["momentum"]}
        self.halves = [
            torch.optim.Muon(chosen, **decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, betas=others["betas"], eps=others["eps"], weight_decay=others["weight_decay"]),
        ]

    def step(self, lr: float) -> None:
        for half in self.halves:
            half.param_groups[0]["lr"] = lr
            half.step()


class Baseline:
    """The same training as a learner's, from the same weights, in plain torch and with torch's own matrix products.

    Raises: ConfigError if the learner accumulates or treats some parameters otherwise, or its model is not of the
        SHA-RNN's own parts with one dropout.
    """

    def __init__(self, learner: Learner) -> None:
        if learner.trainer.accumulate != 1:
            raise ConfigError("the plain baseline takes a step a chunk; leave Trainer.accumulate at 1")
        if learner.trainer.weight_decay_on != "all" or learner.trainer.lr_factors:
            raise ConfigError(
                "the plain baseline treats all parameters alike; leave Trainer.weight_decay_on and lr_factors out"
            )
        self.model = twin(learner.model).to(learner.device)
        self.clip = learner.trainer.clip
        self.optimizer = _optimizer(learner.optimizer, self.model)
        self.state = self.model.initial_state(learner.batches.count)

    def step(self, inputs: Tensor, targets: Tensor, lr: float) -> float:
        """One optimizer step on a chunk (T, B); the loss before it [nats]."""
        with torchs_own_products():
            for p in self.model.parameters():
                p.grad = None
            logits, self.state = self.model(inputs, self.state)
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
            loss.backward()  # type: ignore[no-untyped-call]
            self.state = [(h.detach(), c.detach(), m if m is None else m.detach()) for h, c, m in self.state]
            if self.clip is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
            self.optimizer.step(lr)
            return loss.item()

    def read(self, inputs: Tensor) -> None:
        """Go on without learning: fills the memory."""
        with torch.no_grad():
            self.state = self.model(inputs, self.state)[1]


def likeliest(model: SHARNN, prompt: bytes) -> Iterator[int]:
    """The likeliest continuation, a byte at a time."""
    model.eval()
    state = model.initial_state(1)
    tokens = torch.tensor(list(prompt), device=model.embedding.weight.device).unsqueeze(1)
    while True:
        with torch.no_grad(), torchs_own_products():
            logits, state = model(tokens, state)
        byte = int(logits[-1, 0].argmax())
        yield byte
        tokens = torch.tensor([[byte]], device=tokens.device)


def twin(model: nn.Module) -> SHARNN:
    """The plain model with the weights of an rnnlab LanguageModel.

    Raises: ConfigError if that is made of other parts than this knows, or with more than one dropout.
    """
    blocks: list[Any] = list(model.blocks)  # type: ignore[arg-type]
    parts = {
        type(part).__name__
        for block in blocks
        for part in (block, block.core, block.attention, block.feedforward)
        if part
    }
    unknown = parts - {"SHA", "LSTM", "SingleHead", "Boom"}
    first = blocks[0]
    if unknown or first.feedforward is None:
        raise ConfigError(
            f"the plain baseline is a SHA-RNN of LSTM, SingleHead and Boom; it knows no {unknown or None}"
        )
    dropouts = {
        getattr(part, "dropout", 0.0)
        for block in blocks
        for part in (block, block.attention, block.feedforward)
        if part
    }
    dropouts |= {model.input_dropout, model.output_dropout}  # type: ignore[arg-type]
    if len(dropouts) > 1 or any(block.core.dropconnect for block in blocks):
        raise ConfigError(f"the plain baseline has one dropout throughout and no dropconnect, not {sorted(dropouts)}")
    memories = [block.attention.memory if block.attention else None for block in blocks]
    inner, dim = first.feedforward.up.weight.shape
    plain = SHARNN(model.embedding.num_embeddings, dim, inner, memories, dropouts.pop())  # type: ignore[union-attr, arg-type]
    weights = {_plain_name(name): tensor for name, tensor in model.state_dict().items()}
    plain.load_state_dict({**weights, "decoder.weight": weights["embedding.weight"]})
    return plain


def _plain_name(name: str) -> str:
    for ours, plain in NAMES.items():
        name = name.replace(ours, plain)
    return name


def _optimizer(optimizer: torch.optim.Optimizer, model: SHARNN) -> Lamb | AdamW | Muon:
    kind, groups, parameters = type(optimizer).__name__, optimizer.param_groups, list(model.parameters())
    first = groups[0]
    if kind == "Lamb":
        return Lamb(parameters, first["weight_decay"], first["min_trust"], first["eps"])
    if kind == "AdamW":
        return AdamW(parameters, first["weight_decay"], first["betas"], first["eps"])
    if kind == "Muon":
        return Muon(model, *groups)
    raise ConfigError(f"the plain baseline trains with Lamb, AdamW or Muon, not {kind}")


@contextmanager
def torchs_own_products() -> Iterator[None]:
    """Matrix products through the library that torch chooses when nobody interferes."""
    settings: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "none"
    try:
        yield
    finally:
        settings.fp32_precision = before

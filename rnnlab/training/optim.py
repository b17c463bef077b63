"""Optimizers, and the learning rate they step at. Nothing here moves a number from the device to the host."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rnnlab.errors import ConfigError
from rnnlab.ops import native
from rnnlab.registry import register
from rnnlab.training.eager import Eager, eager_step
from rnnlab.training.orthogonal import orthogonalized

Params = Iterable[nn.Parameter] | Iterable[tuple[str, nn.Parameter]]
"""What an optimizer is made of: the trainer passes `model.named_parameters()`, as torch's own take it."""


def _named(params: Params) -> dict[str, nn.Parameter]:
    """By name; those that come without are numbered."""
    return dict(entry if isinstance(entry, tuple) else (str(number), entry) for number, entry in enumerate(params))


@register("optimizer")
class Lamb(Eager, torch.optim.Optimizer):
    """Adam without bias correction, its step scaled tensor by tensor to the length of the parameter.

    Source: You et al. 2019, arXiv:1904.00962, algorithm 2; the floor under the trust: Merity 2019, arXiv:1911.11423.
        m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,  step = m / (sqrt(v) + eps) + weight_decay p
        trust = max(min(|p|, 10) / |step|, min_trust), the ratio being 1 where |p| or |step| is 0;  p -= lr trust step
    Args:
        params: what is optimized; moments are kept in the parameter's dtype, and never below fp32.
        lr: learning rate, > 0.
        betas: decay of the two moments, each in [0, 1).
        eps: added to sqrt(v), > 0.
        weight_decay: pull towards zero, >= 0.
        min_trust: floor under the trust, >= 0.
    Raises: ConfigError if an argument is out of its range.
    Differs: no bias correction, and a floor under the trust. |p| and |step| leave out the outputs that
        `Trainer.unseen_logit` sets apart: the others are trained as if there were no more.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        min_trust: float = 0.25,
    ) -> None:
        settings = {"lr": lr, "eps": eps, "weight_decay": weight_decay, "min_trust": min_trust, "betas": betas}
        _check("Lamb", settings)
        super().__init__(list(_named(params).values()), settings)
        self._measured: dict[Tensor, Tensor] = {}  # bool (rows), of the parameters of which not every row counts

    def measure_rows(self, params: Iterable[Tensor], rows: Tensor) -> None:
        """See `interfaces.MeasuresParameters`."""
        self._measured |= {p: rows.to(p.device) for p in params}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if any(p.device.type != "cpu" for p in params):
                self._update(params, group)  # few launches of kernels
                continue
            compiled = native.kernels()
            for p in params:  # what stays in the cache from one operation to the next is worth half the time
                if compiled and p.dtype == torch.float32 and p.is_contiguous():
                    self._update_compiled(p, group)
                else:
                    self._update([p], group)
        return loss

    def _moments(self, p: Tensor) -> tuple[Tensor, Tensor]:
        if not self.state[p]:
            dtype = torch.promote_types(p.dtype, torch.float32)
            self.state[p] = {name: torch.zeros_like(p, dtype=dtype) for name in ("exp_avg", "exp_avg_sq")}
        return self.state[p]["exp_avg"], self.state[p]["exp_avg_sq"]

    def _update_compiled(self, p: Tensor, group: dict[str, Any]) -> None:
        """`_update` of one parameter in two passes over memory."""
        assert p.grad is not None
        mean, square = self._moments(p)
        lengths = torch.zeros(torch.get_num_threads(), 2, dtype=torch.float64)
        shared = group["eps"], group["weight_decay"]
        measured, sizes = self._measured.get(p, 0), (p.numel(), p[:1].numel())
        grad = p.grad.contiguous()
        native.run("lamb_moments", p, grad, mean, square, lengths, measured, *sizes, *group["betas"], *shared)
        length, step_length = lengths.sum(dim=0).sqrt().tolist()
        ratio = min(length, 10.0) / step_length if length and step_length else 1.0
        native.run("lamb_step", p, mean, square, p.numel(), *shared, group["lr"] * max(ratio, group["min_trust"]))

    def _update(self, params: list[Tensor], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        means, squares = zip(*map(self._moments, params), strict=True)
        grads = [p.grad.to(mean.dtype) for p, mean in zip(params, means, strict=True) if p.grad is not None]

        torch._foreach_mul_(means, beta1)
        torch._foreach_add_(means, grads, alpha=1.0 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, value=1.0 - beta2)

        steps = torch._foreach_sqrt(squares)
        torch._foreach_add_(steps, group["eps"])
        torch._foreach_reciprocal_(steps)
        torch._foreach_mul_(steps, means)
        if group["weight_decay"]:
            torch._foreach_add_(steps, params, alpha=group["weight_decay"])

        lengths = self._lengths(params, params).clamp(max=10.0)
        step_lengths = self._lengths(params, steps)
        ratio = torch.where((lengths > 0) & (step_lengths > 0), lengths / step_lengths, 1.0)
        scale = ratio.clamp(min=group["min_trust"]) * -group["lr"]
        torch._foreach_mul_(steps, scale.unbind())
        torch._foreach_add_(params, steps)

    def _lengths(self, params: Sequence[Tensor], tensors: Sequence[Tensor]) -> Tensor:
        """Of each tensor, over the rows of its parameter that are measured."""
        kept = [
            x if rows is None else x * rows.view(-1, *[1] * (x.dim() - 1))
            for x, rows in zip(tensors, map(self._measured.get, params), strict=True)
        ]
        return torch.stack(torch._foreach_norm(kept))


@register("optimizer")
class AdamW(Eager, torch.optim.AdamW):
    """Adam with decoupled weight decay.

    Source: Loshchilov & Hutter 2017, arXiv:1711.05101, algorithm 2; torch's implementation, in one pass over memory.
    Args:
        params: what is optimized.
        lr: learning rate, > 0.
        betas: decay of the two moments, each in [0, 1).
        eps: added to sqrt(v), > 0.
        weight_decay: share of a parameter that is lost per unit of learning rate, >= 0.
    Raises: ConfigError if an argument is out of its range.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        _check("AdamW", {"lr": lr, "eps": eps, "weight_decay": weight_decay, "betas": betas})
        params = list(_named(params).values())
        super().__init__(params, lr, betas, eps, weight_decay, fused=_fused_runs_on(params))

    step: Any = eager_step(torch.optim.AdamW)


@register("optimizer")
class SGD(Eager, torch.optim.SGD):
    """Gradient descent, with momentum if asked for.

    Source: Sutskever et al. 2013 for momentum; torch's implementation, in one pass over memory.
    Args:
        params: what is optimized.
        lr: learning rate, > 0.
        momentum: decay of the running sum of gradients, in [0, 1).
        nesterov: look ahead along the momentum.
        weight_decay: added to the gradient, times the parameter, >= 0: L2, not decoupled, so momentum carries it on.
    Raises: ConfigError if an argument is out of its range.
    """

    def __init__(
        self, params: Params, lr: float = 0.1, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        _check("SGD", {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        if nesterov and not momentum:
            raise ConfigError("SGD.nesterov = True looks ahead along a momentum; bind SGD.momentum above 0")
        params = list(_named(params).values())
        fused = _fused_runs_on(params)
        super().__init__(params, lr, momentum, nesterov=nesterov, weight_decay=weight_decay, fused=fused)

    step: Any = eager_step(torch.optim.SGD)


@register("optimizer")
class Muon(Eager, torch.optim.Optimizer):
    """Momentum whose steps on the matrices are made orthogonal; AdamW for the embedding and the vectors.

    Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon; the scale of the steps: Liu et al. 2025,
    arXiv:2502.16982, equation 4, by which one learning rate suits both halves.
        m = momentum m + (1 - momentum) g,  u = (1 - momentum) g + momentum m
        p -= lr (0.2 sqrt(max(rows, columns)) orthogonalize(u) + weight_decay p)
    Args:
        params: what is optimized, with names: a matrix whose name has "embedding" in it goes to AdamW.
        lr: learning rate of both, > 0.
        momentum: of the matrices, in [0, 1).
        betas, eps: AdamW's.
        weight_decay: share of a parameter that is lost per unit of learning rate, >= 0.
    Raises: ConfigError if an argument is out of its range.
    Differs: in fp32 and not in bf16, on a GPU as well, and with fewer products; see `orthogonalized`.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        _check("Muon", {"lr": lr, "eps": eps, "weight_decay": weight_decay, "betas": betas, "momentum": momentum})
        named = _named(params)
        matrices = [p for name, p in named.items() if p.dim() == 2 and "embedding" not in name]
        others = [p for name, p in named.items() if p.dim() != 2 or "embedding" in name]
        super().__init__(list(named.values()), {"lr": lr})
        self.param_groups = []
        if matrices:
            self.param_groups.append({"params": matrices, "lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._rest: torch.optim.Optimizer | None = None
        if others:
            self._rest = AdamW(others, lr, betas, eps, weight_decay)
            self._rest.state = self.state  # one memory, so that a checkpoint and a fresh start see both halves
            self.param_groups += self._rest.param_groups

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Update every parameter that has a gradient."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            matrices = [p for p in group["params"] if p.grad is not None]
            if matrices and "momentum" in group:
                self._turn(matrices, group)
        if self._rest is not None:
            self._rest.param_groups = [group for group in self.param_groups if "momentum" not in group]  # as split
            self._rest.step()
        return loss

    @torch.no_grad()
    def _turn(self, matrices: list[nn.Parameter], group: dict[str, Any]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        for p in matrices:
            if not self.state[p]:
                self.state[p] = {"momentum_buffer": torch.zeros_like(p)}
        gradients = [p.grad for p in matrices if p.grad is not None]
        means = [self.state[p]["momentum_buffer"] for p in matrices]
        torch._foreach_lerp_(means, gradients, 1.0 - momentum)
        ahead = torch._foreach_lerp(gradients, means, momentum)
        torch._foreach_mul_(list[Tensor](matrices), 1.0 - lr * group["weight_decay"])
        for p, step in zip(matrices, orthogonalized(ahead), strict=True):
            p.add_(step, alpha=-lr * 0.2 * math.sqrt(max(p.shape)))


def _fused_runs_on(params: list[nn.Parameter]) -> bool:
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in params)


def _check(owner: str, settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        if name == "betas":
            fits, needed = len(value) == 2 and all(0.0 <= beta < 1.0 for beta in value), "two numbers in [0, 1)"
        elif name == "momentum":
            fits, needed = 0.0 <= value < 1.0, "in [0, 1)"
        elif name in ("weight_decay", "min_trust"):
            fits, needed = 0.0 <= value < math.inf, "0 or more"
        else:
            fits, needed = 0.0 < value < math.inf, "more than 0"
        if not fits:
            raise ConfigError(f"{owner}.{name} = {value}: {needed}")


def scale_lr(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Set the learning rate to `factor` times the one the optimizer was built with, and return it.

    A group with an "lr_factor" of its own steps at that share of it; the rate that is returned is the common one.
    """
    lr = 0.0
    for group in optimizer.param_groups:
        first = group.setdefault("initial_lr", group["lr"])
        group["lr"] = first * group.get("lr_factor", 1.0) * factor
        lr = first * factor
    return lr

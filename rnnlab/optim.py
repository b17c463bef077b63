"""Optimizers, learning-rate schedules, and what is done to gradients in between.

The trainer asks a schedule for a factor at every step (`scale_lr`), measures the global norm of the gradient
(`global_norm`), clips it (`clip_gradients`) and steps. Nothing here moves a number from the device to the host.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor, nn

from rnnlab import native
from rnnlab.errors import ConfigError, StorageError
from rnnlab.registry import register

Params = Iterable[nn.Parameter] | Iterable[tuple[str, nn.Parameter]]
"""What an optimizer is made of: the trainer passes `model.named_parameters()`, as torch's own take it."""


def _named(params: Params) -> dict[str, nn.Parameter]:
    """By name; those that come without are numbered."""
    return dict(entry if isinstance(entry, tuple) else (str(number), entry) for number, entry in enumerate(params))


@register("optimizer")
class Lamb(torch.optim.Optimizer):
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
    Differs: no bias correction, and a floor under the trust.
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
        _check("Lamb", lr=lr, eps=eps, weight_decay=weight_decay, min_trust=min_trust)
        _check_betas("Lamb", betas)
        super().__init__(
            list(_named(params).values()),
            {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "min_trust": min_trust},
        )

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
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
        native.run("lamb_moments", p, p.grad.contiguous(), mean, square, lengths, p.numel(), *group["betas"], *shared)
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

        lengths = torch.stack(torch._foreach_norm(params)).clamp(max=10.0)
        step_lengths = torch.stack(torch._foreach_norm(steps))
        ratio = torch.where((lengths > 0) & (step_lengths > 0), lengths / step_lengths, 1.0)
        scale = ratio.clamp(min=group["min_trust"]) * -group["lr"]
        torch._foreach_mul_(steps, scale.unbind())
        torch._foreach_add_(params, steps)


@register("optimizer")
class AdamW(torch.optim.AdamW):
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
        _check("AdamW", lr=lr, eps=eps, weight_decay=weight_decay)
        _check_betas("AdamW", betas)
        params = list(_named(params).values())
        super().__init__(params, lr, betas, eps, weight_decay, fused=_fused_runs_on(params))


@register("optimizer")
class SGD(torch.optim.SGD):
    """Gradient descent, with momentum if asked for.

    Source: Sutskever et al. 2013 for momentum; torch's implementation, in one pass over memory.
    Args:
        params: what is optimized.
        lr: learning rate, > 0.
        momentum: decay of the running sum of gradients, in [0, 1).
        nesterov: look ahead along the momentum.
        weight_decay: added to the gradient, times the parameter, >= 0.
    Raises: ConfigError if an argument is out of its range.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 0.1,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        _check("SGD", lr=lr, weight_decay=weight_decay)
        if not 0.0 <= momentum < 1.0:
            raise ConfigError(f"SGD.momentum = {momentum}: in [0, 1)")
        if nesterov and not momentum:
            raise ConfigError("SGD.nesterov = True looks ahead along a momentum; bind SGD.momentum above 0")
        params = list(_named(params).values())
        super().__init__(
            params, lr, momentum, nesterov=nesterov, weight_decay=weight_decay, fused=_fused_runs_on(params)
        )


@register("optimizer")
class Muon(torch.optim.Optimizer):
    """Momentum whose steps on the matrices are made orthogonal; AdamW for the embedding and the vectors.

    Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon; the scale of the steps: Liu et al. 2025,
    arXiv:2502.16982, equation 4, by which one learning rate suits both halves. torch's implementations.
        m = momentum m + g,  step = 0.2 sqrt(max(rows, columns)) orthogonalize(g + momentum m)
    Args:
        params: what is optimized, with names: a matrix whose name has "embedding" in it goes to AdamW.
        lr: learning rate of both, > 0.
        momentum: of the matrices, in [0, 1).
        betas, eps: AdamW's.
        weight_decay: share of a parameter that is lost per unit of learning rate, >= 0.
    Raises: ConfigError if an argument is out of its range.
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
        _check("Muon", lr=lr, eps=eps, weight_decay=weight_decay)
        _check_betas("Muon", betas)
        if not 0.0 <= momentum < 1.0:
            raise ConfigError(f"Muon.momentum = {momentum}: in [0, 1)")
        named = _named(params)
        super().__init__(list(named.values()), {"lr": lr})
        matrices = [p for name, p in named.items() if p.dim() == 2 and "embedding" not in name]
        others = [p for name, p in named.items() if p.dim() != 2 or "embedding" in name]
        self._halves: list[torch.optim.Optimizer] = []
        if matrices:
            self._halves.append(torch.optim.Muon(matrices, lr, weight_decay, momentum, adjust_lr_fn="match_rms_adamw"))
        if others:
            fused = _fused_runs_on(others)
            self._halves.append(torch.optim.AdamW(others, lr, betas, eps, weight_decay, fused=fused))
        self.param_groups = [group for half in self._halves for group in half.param_groups]
        for half in self._halves:  # one memory, so that a checkpoint and a fresh start see both halves
            half.state = self.state

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient."""
        loss = closure() if closure is not None else None
        for half in self._halves:
            half.step()
        return loss


def _fused_runs_on(params: list[nn.Parameter]) -> bool:
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in params)


def _check(owner: str, **values: float) -> None:
    for name, value in values.items():
        may_be_zero = name in ("weight_decay", "min_trust")
        if not (math.isfinite(value) and (value > 0 or (value == 0 and may_be_zero))):
            raise ConfigError(f"{owner}.{name} = {value}: {'0 or more' if may_be_zero else 'more than 0'}")


def _check_betas(owner: str, betas: tuple[float, float]) -> None:
    if len(betas) != 2 or not all(0.0 <= beta < 1.0 for beta in betas):
        raise ConfigError(f"{owner}.betas = {betas}: two numbers in [0, 1)")


def scale_lr(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Set the learning rate to `factor` times the one the optimizer was built with, and return it."""
    lr = 0.0
    for group in optimizer.param_groups:
        lr = group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
    return lr


def global_norm(grads: Iterable[Tensor | None]) -> Tensor:
    """Euclidean norm of all gradients together, on their device, 0-dim; not finite if one of them is not."""
    return torch.nn.utils.get_total_norm([grad for grad in grads if grad is not None])


def clip_gradients(grads: Iterable[Tensor | None], norm: Tensor, bound: float) -> None:
    """Scale the gradients in place so that their `global_norm`, passed in, is at most `bound`.

    A norm that is not finite leaves them as they are: one NaN does not become a NaN in every parameter, and who looks
    for its origin still finds it.
    """
    present = [grad for grad in grads if grad is not None]
    factor = torch.where(norm.isfinite(), (bound / (norm + 1e-6)).clamp(max=1.0), 1.0)
    if present:
        torch._foreach_mul_(present, factor)


def norms_by_part(named_parameters: Iterable[tuple[str, nn.Parameter]]) -> dict[str, float]:
    """Norm of the gradient of each part: {"embedding": ..., "blocks.2.core": ...}. Waits for the device."""
    grads: dict[str, list[Tensor]] = {}
    for name, parameter in named_parameters:
        if parameter.grad is not None:
            grads.setdefault(_part_of(name), []).append(parameter.grad)
    return {part: float(global_norm(of_part)) for part, of_part in grads.items()}


def _part_of(name: str) -> str:
    """`decoder.bias` -> `decoder`; `blocks.2.core.weight` -> `blocks.2.core`, since a layer is more than one part."""
    path = name.split(".")
    depth = 3 if len(path) > 2 and path[1].isdigit() else 1
    return ".".join(path[: min(depth, max(1, len(path) - 1))])


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


@dataclass(frozen=True)
class Schedule:
    """Factor on the learning rate: a linear warm-up counted in steps, times `decay`, a function of the budget spent.

    It keeps nothing: the same arguments give the same factor, in a resumed run as in one that was left alone.

    Args:
        warmup: steps over which the factor rises to `decay`, >= 0 [steps].
    Raises: ConfigError if warmup is negative.
    """

    warmup: int = 0

    def __post_init__(self) -> None:
        if self.warmup < 0:
            raise ConfigError(f"{type(self).__name__}.warmup = {self.warmup}: 0 or more [steps]")

    def __call__(self, step: int, progress: float, pass_start: int = 0) -> float:
        """Factor for the step that comes after `step` others.

        Args:
            step: steps taken since the run began [steps].
            progress: share of the budget spent before this step [fraction], in [0, 1].
            pass_start: `step` at which the present pass began, from where warm-up counts [steps].
        """
        warm = min(1.0, (step - pass_start + 1) / self.warmup) if self.warmup else 1.0
        return warm * self.decay(min(progress, 1.0))

    def decay(self, progress: float) -> float:
        """What is left of the learning rate at `progress`, warm-up aside."""
        return 1.0

    def pass_of(self, progress: float) -> int:
        """Which pass over the budget this is; where it rises, the trainer makes the optimizer anew."""
        return 0


@register("schedule")
@dataclass(frozen=True)
class Constant(Schedule):
    """The same learning rate throughout."""


@dataclass(frozen=True)
class _Decay(Schedule):
    """A schedule that falls to the factor `final` by the end of the budget; final is in [0, 1]."""

    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.final <= 1.0:
            raise ConfigError(f"{type(self).__name__}.final = {self.final}: in [0, 1], the last factor")


@register("schedule")
@dataclass(frozen=True)
class Linear(_Decay):
    """Down to `final` times the learning rate along a straight line."""

    def decay(self, progress: float) -> float:
        return 1.0 - (1.0 - self.final) * progress


@register("schedule")
@dataclass(frozen=True)
class Cosine(_Decay):
    """Down to `final` times the learning rate along half a cosine.

    Source: Loshchilov & Hutter 2016, arXiv:1608.03983, equation 5, without restarts.
    """

    def decay(self, progress: float) -> float:
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * progress))


@register("schedule")
@dataclass(frozen=True)
class TwoPass(Schedule):
    """The paper's: constant, then a second pass at half the rate with a fresh optimizer and another warm-up.

    Source: Merity 2019, arXiv:1911.11423, section 4.
    Args:
        warmup: of each pass [steps].
        switch: share of the budget after which the second pass begins [fraction], in (0, 1]; 1 for never.
        factor: on the learning rate in the second pass, > 0.
    Raises: ConfigError if an argument is out of its range.
    """

    warmup: int = 800
    switch: float = 0.85
    factor: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.switch <= 1.0:
            raise ConfigError(f"TwoPass.switch = {self.switch}: in (0, 1], a share of the budget")
        if not self.factor > 0.0:
            raise ConfigError(f"TwoPass.factor = {self.factor}: more than 0")

    def decay(self, progress: float) -> float:
        return self.factor if self.pass_of(progress) else 1.0

    def pass_of(self, progress: float) -> int:
        return int(self.switch <= progress and self.switch < 1.0)

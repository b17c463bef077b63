"""Optimizers against closed forms in float64, schedules as functions, gradients that are not finite."""

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn

from rnnlab import native, optim
from rnnlab.errors import ConfigError, StorageError

BUILDERS: dict[str, Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]] = {
    "Lamb": lambda params: optim.Lamb(params, weight_decay=0.01),
    "AdamW": lambda params: optim.AdamW(params),
    "SGD": lambda params: optim.SGD(params, momentum=0.9),
    "plain SGD": lambda params: optim.SGD(params),
    "Muon": lambda params: optim.Muon(params),
}


def small_model(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3)).to(dtype)


def give_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def take_steps(model: nn.Module, optimizer: torch.optim.Optimizer, seeds: Iterable[int]) -> None:
    for seed in seeds:
        give_gradients(model, seed)
        optimizer.step()


def lamb_by_hand(p: Tensor, grads: list[Tensor], lr: float, decay: float, min_trust: float) -> Tensor:
    """The equations of the docstring for one tensor, one number at a time."""
    mean, square = torch.zeros_like(p), torch.zeros_like(p)
    for grad in grads:
        mean = 0.9 * mean + 0.1 * grad
        square = 0.999 * square + 0.001 * grad**2
        step = mean / (square.sqrt() + 1e-6) + decay * p
        length, step_length = p.norm().item(), step.norm().item()
        ratio = min(length, 10.0) / step_length if length > 0 and step_length > 0 else 1.0
        p = p - lr * max(ratio, min_trust) * step
    return p


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 100.0], ids=["zero", "below the floor", "above it", "beyond 10"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lamb_equals_its_equations(scale: float, decay: float) -> None:
    generator = torch.Generator().manual_seed(3)
    start = scale * torch.randn(6, 4, generator=generator, dtype=torch.float64)
    grads = [torch.randn(6, 4, generator=generator, dtype=torch.float64) for _ in range(5)]
    parameter = nn.Parameter(start.clone())
    optimizer = optim.Lamb([parameter], lr=0.02, weight_decay=decay, min_trust=0.25)
    for grad in grads:
        parameter.grad = grad.clone()
        optimizer.step()
    expected = lamb_by_hand(start, grads, lr=0.02, decay=decay, min_trust=0.25)
    torch.testing.assert_close(parameter.detach(), expected, rtol=1e-12, atol=1e-14)


def test_lamb_leaves_a_parameter_alone_when_gradient_and_moments_are_zero() -> None:
    parameter = nn.Parameter(torch.ones(3))
    parameter.grad = torch.zeros(3)
    optim.Lamb([parameter], min_trust=0.25).step()
    assert torch.equal(parameter.detach(), torch.ones(3))


def test_lamb_agrees_with_another_implementation_where_the_two_are_the_same_rule() -> None:
    from pytorch_optimizer import Lamb as Other

    ours, theirs = small_model(torch.float64), small_model(torch.float64)
    take_steps(ours, optim.Lamb(ours.parameters(), lr=0.02, weight_decay=0.1, min_trust=0.0), range(20))
    other = Other(
        theirs.parameters(), lr=0.02, weight_decay=0.1, weight_decouple=False, adam_debias=True
    )  # its adam_debias takes the bias correction out
    take_steps(theirs, other, range(20))
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-8)  # it adds eps to the length of the step


def test_lamb_keeps_its_moments_in_fp32_for_parameters_in_bf16() -> None:
    parameter = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimizer = optim.Lamb([parameter])
    parameter.grad = torch.full((4,), 0.3, dtype=torch.bfloat16)
    optimizer.step()
    assert {slot: value.dtype for slot, value in optimizer.state[parameter].items()} == {
        "exp_avg": torch.float32,
        "exp_avg_sq": torch.float32,
    }
    assert parameter.dtype == torch.bfloat16


def test_lamb_updates_all_tensors_together_as_it_updates_each_alone() -> None:
    alone, together = small_model(), small_model()
    by_one, by_all = (optim.Lamb(model.parameters(), weight_decay=0.1) for model in (alone, together))
    for seed in range(3):
        give_gradients(alone, seed)
        give_gradients(together, seed)
        by_one.step()  # on the CPU: one tensor after the other
        with torch.no_grad():
            by_all._update(list(together.parameters()), by_all.param_groups[0])  # as on other devices
    for a, b in zip(alone.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_lamb_skips_what_has_no_gradient() -> None:
    model = small_model()
    before = copy.deepcopy(model.state_dict())
    optimizer = optim.Lamb(model.parameters())
    optimizer.step()
    weight = model.get_parameter("1.weight")
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert moved == ["1.weight"]


@pytest.mark.parametrize("name", BUILDERS)
def test_an_optimizer_restored_from_its_tensors_continues_bit_for_bit(name: str) -> None:
    whole = small_model()
    optimizer = BUILDERS[name](whole.parameters())
    take_steps(whole, optimizer, range(4))
    saved = {key: value.clone() for key, value in optim.optimizer_tensors(optimizer, whole.named_parameters()).items()}

    resumed = copy.deepcopy(whole)
    fresh = BUILDERS[name](resumed.parameters())
    optim.load_optimizer_tensors(fresh, resumed.named_parameters(), saved)
    restored = optim.optimizer_tensors(fresh, resumed.named_parameters())
    assert restored.keys() == saved.keys()
    assert all(torch.equal(restored[key], saved[key]) and restored[key].dtype == saved[key].dtype for key in saved)

    take_steps(whole, optimizer, range(4, 8))
    take_steps(resumed, fresh, range(4, 8))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_muon_orthogonalizes_matrices_and_leaves_embeddings_and_vectors_to_adamw() -> None:
    model = nn.Sequential(OrderedDict(embedding=nn.Embedding(6, 4), linear=nn.Linear(4, 8)))
    optimizer = optim.Muon(model.named_parameters(), lr=1.0, weight_decay=0.0, momentum=0.0)
    before = copy.deepcopy(model.state_dict())
    give_gradients(model, seed=0)
    optimizer.step()
    slots = set(optim.optimizer_tensors(optimizer, model.named_parameters()))
    assert {"linear.weight/momentum_buffer", "embedding.weight/exp_avg", "linear.bias/exp_avg"} <= slots
    assert "linear.weight/exp_avg" not in slots
    step = (before["linear.weight"] - model.get_parameter("linear.weight")).detach() / (0.2 * 8**0.5)
    singular = torch.linalg.svdvals(step)  # all 1 if orthonormal; five iterations reach 0.7 to 1.2
    assert 0.6 < singular.min() <= singular.max() < 1.3


def test_restoring_into_an_optimizer_forgets_what_it_had() -> None:
    model = small_model()
    optimizer = optim.Lamb(model.parameters())
    take_steps(model, optimizer, range(2))
    optim.load_optimizer_tensors(optimizer, model.named_parameters(), {})
    assert optim.optimizer_tensors(optimizer, model.named_parameters()) == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {"9.weight/exp_avg": next(iter(t.values()))}, "9.weight/exp_avg"),
        (lambda t: {"1.weight/exp_avg": torch.zeros(2, 2)}, r"\(2, 2\).*\(5, 4\)"),
    ],
    ids=["another name", "another shape"],
)
def test_an_optimizer_of_another_model_is_refused(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], words: str
) -> None:
    model = small_model()
    optimizer = optim.Lamb(model.parameters())
    take_steps(model, optimizer, range(1))
    tensors = change(optim.optimizer_tensors(optimizer, model.named_parameters()))
    with pytest.raises(StorageError, match=words):
        optim.load_optimizer_tensors(optimizer, model.named_parameters(), tensors)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda p: optim.Lamb(p, lr=0.0), "Lamb.lr = 0.0"),
        (lambda p: optim.Lamb(p, lr=math.nan), "Lamb.lr = nan"),
        (lambda p: optim.Lamb(p, betas=(0.9, 1.0)), "Lamb.betas"),
        (lambda p: optim.Lamb(p, min_trust=-1.0), "Lamb.min_trust"),
        (lambda p: optim.AdamW(p, weight_decay=-0.1), "AdamW.weight_decay"),
        (lambda p: optim.SGD(p, momentum=1.0), "SGD.momentum"),
        (lambda p: optim.SGD(p, nesterov=True), "SGD.nesterov"),
        (lambda p: optim.Constant(warmup=-1), "Constant.warmup = -1"),
        (lambda p: optim.Cosine(final=1.5), "Cosine.final = 1.5"),
        (lambda p: optim.TwoPass(switch=0.0), "TwoPass.switch"),
        (lambda p: optim.TwoPass(factor=0.0), "TwoPass.factor"),
    ],
)
def test_an_argument_out_of_range_is_a_configuration_error(
    build: Callable[[Iterable[nn.Parameter]], object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        build(small_model().parameters())


def test_scale_lr_always_starts_from_the_rate_the_optimizer_was_built_with() -> None:
    optimizer = optim.Lamb(small_model().parameters(), lr=0.5)
    assert [optim.scale_lr(optimizer, factor) for factor in (0.5, 0.5, 2.0)] == [0.25, 0.25, 1.0]
    assert optimizer.param_groups[0]["lr"] == 1.0


def test_global_norm_is_the_norm_of_everything_together() -> None:
    grads = [torch.tensor([3.0]), None, torch.tensor([[0.0, 4.0]])]
    assert optim.global_norm(grads).item() == pytest.approx(5.0)


@pytest.mark.parametrize("bound", [1.0, 100.0])
def test_clipping_scales_down_to_the_bound_and_never_up(bound: float) -> None:
    model = small_model()
    give_gradients(model, 1)
    grads = [p.grad for p in model.parameters()]
    norm = optim.global_norm(grads)
    optim.clip_gradients(grads, norm, bound)
    assert optim.global_norm(grads).item() == pytest.approx(min(bound, norm.item()), rel=1e-5)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_clipping_does_not_spread_a_gradient_that_is_not_finite(poison: float) -> None:
    grads: list[Tensor | None] = [torch.ones(3), torch.tensor([1.0, poison])]
    norm = optim.global_norm(grads)
    assert not norm.isfinite()
    optim.clip_gradients(grads, norm, 0.25)
    assert grads[0] is not None
    assert torch.equal(grads[0], torch.ones(3))


def test_norms_are_reported_by_part() -> None:
    model = nn.ModuleDict(
        {
            "embedding": nn.Embedding(3, 2),
            "blocks": nn.ModuleList([nn.ModuleDict({"core": nn.Linear(2, 2), "norm": nn.LayerNorm(2)})]),
        }
    )
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    norms = optim.norms_by_part(model.named_parameters())
    expected = {"embedding": 6, "blocks.0.core": 6, "blocks.0.norm": 4}
    assert norms == {part: pytest.approx(math.sqrt(count)) for part, count in expected.items()}


def test_warm_up_rises_in_steps_and_starts_again_with_a_pass() -> None:
    schedule = optim.Constant(warmup=4)
    assert [schedule(step, 0.0) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert [schedule(step, 0.0, pass_start=10) for step in (10, 13)] == [0.25, 1.0]


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (optim.Constant(), [1.0, 1.0, 1.0]),
        (optim.Linear(final=0.2), [1.0, 0.6, 0.2]),
        (optim.Cosine(), [1.0, 0.5, 0.0]),
        (optim.Cosine(final=0.1), [1.0, 0.55, 0.1]),
        (optim.TwoPass(warmup=0), [1.0, 1.0, 0.5]),
    ],
)
def test_a_schedule_at_the_start_the_middle_and_the_end(schedule: optim.Schedule, factors: list[float]) -> None:
    assert [schedule(100, progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx(factors)


def test_only_the_two_pass_schedule_has_a_second_pass_and_a_switch_at_one_means_never() -> None:
    at = [0.0, 0.84, 0.85, 1.0]
    assert [optim.TwoPass().pass_of(progress) for progress in at] == [0, 0, 1, 1]
    assert [optim.TwoPass(switch=1.0).pass_of(progress) for progress in at] == [0, 0, 0, 0]
    assert [optim.Cosine().pass_of(progress) for progress in at] == [0, 0, 0, 0]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", BUILDERS)
def test_an_optimizer_saved_on_a_gpu_goes_on_there_without_waiting_for_it(name: str) -> None:
    model = small_model().cuda()
    optimizer = BUILDERS[name](model.parameters())
    take_steps_on_gpu(model, optimizer, range(3))
    saved = {k: v.cpu() for k, v in optim.optimizer_tensors(optimizer, model.named_parameters()).items()}
    resumed = copy.deepcopy(model)
    fresh = BUILDERS[name](resumed.parameters())
    optim.load_optimizer_tensors(fresh, resumed.named_parameters(), saved)
    take_steps_on_gpu(model, optimizer, range(3, 6))
    take_steps_on_gpu(resumed, fresh, range(3, 6))
    for a, b in zip(model.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def take_steps_on_gpu(model: nn.Module, optimizer: torch.optim.Optimizer, seeds: Iterable[int]) -> None:
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.device)
        torch.cuda.set_sync_debug_mode("error")
        try:
            optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(native.kernels() is None, reason="there are no CPU kernels")
@pytest.mark.parametrize("count", [1, 4096, 40_001])
def test_lamb_compiled_is_lamb(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = torch.Generator().manual_seed(0)
    start, *grads = (torch.randn(count, generator=draws) for _ in range(6))
    ends = []
    for compiled in (True, False):
        parameter = nn.Parameter(start.clone())
        optimizer = optim.Lamb([parameter], lr=0.01, weight_decay=0.1)
        if not compiled:
            monkeypatch.setattr(native, "kernels", lambda: None)
        for grad in grads:
            parameter.grad = grad.clone()
            optimizer.step()
            assert torch.equal(parameter.grad, grad)
        ends.append([parameter.detach(), *optimizer.state[parameter].values()])
    for got, want in zip(*ends, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(native.kernels() is None, reason="there are no CPU kernels")
def test_lamb_on_several_threads_steps_to_the_same_bits_every_time() -> None:
    draws = torch.Generator().manual_seed(0)
    start, grad = torch.randn(2, 200_000, generator=draws).unbind()
    threads = torch.get_num_threads()
    found = []
    try:
        torch.set_num_threads(4)
        for _ in range(5):
            parameter = nn.Parameter(start.clone())
            parameter.grad = grad.clone()
            optim.Lamb([parameter], lr=0.01).step()
            found.append(parameter.detach())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, found[0]) for one in found)

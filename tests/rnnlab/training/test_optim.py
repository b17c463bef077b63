"""Optimizers against closed forms in float64, and against other implementations."""

import copy
import math
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn

from rnnlab.errors import ConfigError
from rnnlab.ops import native
from rnnlab.testing import rounding
from rnnlab.training import optim
from rnnlab.training.optimizer_state import optimizer_tensors
from rnnlab.training.orthogonal import orthogonalized
from tests.rnnlab.small_models import give_gradients, small_model, take_steps


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


@pytest.mark.parametrize("shape", [(9,), (9, 4)], ids=str)
def test_lamb_steps_on_the_rows_that_are_measured_as_if_there_were_no_others(shape: tuple[int, ...]) -> None:
    draws = torch.Generator().manual_seed(3)
    rows = torch.arange(9) % 3 != 0
    start, *grads = (torch.randn(shape, generator=draws, dtype=torch.float64) for _ in range(6))
    start[~rows] = -10.0
    parameter = nn.Parameter(start.clone())
    optimizer = optim.Lamb([parameter], lr=0.02, weight_decay=0.1)
    optimizer.measure_rows([parameter], rows)
    for grad in grads:
        parameter.grad = grad.clone()
        optimizer.step()
    expected = lamb_by_hand(start[rows], [grad[rows] for grad in grads], lr=0.02, decay=0.1, min_trust=0.25)
    torch.testing.assert_close(parameter.detach()[rows], expected, rtol=1e-12, atol=1e-14)
    assert (parameter[~rows] != -10.0).all(), "the others are updated as well"


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
    alone, together = small_model(torch.float64), small_model(torch.float64)
    by_one, by_all = (optim.Lamb(model.parameters(), weight_decay=0.1) for model in (alone, together))
    for optimizer, model in ((by_one, alone), (by_all, together)):
        optimizer.measure_rows([model.get_parameter("0.weight")], torch.arange(7) < 4)
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


def test_muon_orthogonalizes_matrices_and_leaves_embeddings_and_vectors_to_adamw() -> None:
    model = nn.Sequential(OrderedDict(embedding=nn.Embedding(6, 4), linear=nn.Linear(4, 8)))
    optimizer = optim.Muon(model.named_parameters(), lr=1.0, weight_decay=0.0, momentum=0.0)
    before = copy.deepcopy(model.state_dict())
    give_gradients(model, seed=0)
    optimizer.step()
    slots = set(optimizer_tensors(optimizer, model.named_parameters()))
    assert {"linear.weight/momentum_buffer", "embedding.weight/exp_avg", "linear.bias/exp_avg"} <= slots
    assert "linear.weight/exp_avg" not in slots
    step = (before["linear.weight"] - model.get_parameter("linear.weight")).detach() / (0.2 * 8**0.5)
    singular = torch.linalg.svdvals(step)  # all 1 if orthonormal; five iterations reach 0.7 to 1.2
    assert 0.6 < singular.min() <= singular.max() < 1.3


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (1, 6), (64, 256), (300, 900)], ids=str)
def test_orthogonalizing_is_five_times_the_quintic_on_the_singular_values(shape: tuple[int, int]) -> None:
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))

    def by_singular_values(x: Tensor) -> Tensor:
        u, s, v = torch.linalg.svd(x, full_matrices=False)
        s = s / s.norm()
        for _ in range(5):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        return u @ (s.unsqueeze(-1) * v)

    exact = [by_singular_values(each.double()) for each in x]
    for got, want in zip(orthogonalized(list(x.double())), exact, strict=True):
        torch.testing.assert_close(got, want)
    rounding.expected(lambda: orthogonalized(list(x.double()))).check(orthogonalized(list(x)))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_matrices_are_orthogonalized_on_a_gpu_as_on_the_cpu() -> None:
    """In bfloat16, which torch's own Muon takes there, the product of the factors is mostly roundings."""
    x = torch.randn(2, 64, 256, generator=torch.Generator().manual_seed(0))
    exact = rounding.expected(lambda: orthogonalized(list(x.double())))
    exact.check([each.cpu() for each in orthogonalized(list(x.cuda()))])


def test_matrices_of_all_shapes_are_orthogonalized_together_as_each_alone() -> None:
    draws = torch.Generator().manual_seed(1)
    shapes = [(4, 6), (6, 4), (4, 6), (5, 5), (600, 500), (6, 4)]
    matrices = [torch.randn(shape, generator=draws, dtype=torch.float64) for shape in shapes]
    for got, x in zip(orthogonalized(matrices), matrices, strict=True):
        torch.testing.assert_close(got, orthogonalized([x])[0])
    assert not orthogonalized([torch.zeros(3, 4)])[0].any()


@pytest.mark.long
def test_a_step_does_not_wait_for_torchs_compiler() -> None:
    script = (
        "import sys, torch; from rnnlab.training import optim; layer = torch.nn.Linear(3, 4)\n"
        "for rule in (optim.Lamb, optim.AdamW, optim.SGD, optim.Muon):\n"
        "    one = rule(layer.named_parameters())\n"
        "    layer(torch.ones(2, 3)).sum().backward(); one.step(); one.zero_grad()\n"
        "    one.load_state_dict(one.state_dict())\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_muon_steps_as_torchs_does_but_for_its_rounding_to_bfloat16() -> None:
    ours, theirs = (nn.Linear(24, 40, bias=False) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    start = ours.weight.detach().clone()
    rule = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1}
    mine = optim.Muon(ours.named_parameters(), **rule)
    its = torch.optim.Muon(theirs.parameters(), **rule, adjust_lr_fn="match_rms_adamw")
    for seed in range(5):
        give_gradients(ours, seed)
        give_gradients(theirs, seed)
        mine.step()
        its.step()
    moved, apart = (theirs.weight - start).norm(), (theirs.weight - ours.weight).norm()
    assert apart < 0.03 * moved, "fifteen products in bfloat16, each off by 0.004"


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


@pytest.mark.skipif(native.kernels() is None, reason="there are no CPU kernels")
@pytest.mark.parametrize("measured", [False, True], ids=["every row", "some rows"])
@pytest.mark.parametrize("shape", [(1,), (4096,), (40_001,), (300, 70)], ids=str)
def test_lamb_compiled_is_lamb(shape: tuple[int, ...], measured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = torch.Generator().manual_seed(0)
    start, *grads = (torch.randn(shape, generator=draws) for _ in range(6))
    rows = torch.arange(shape[0]) % 3 != 1
    if measured:
        start[~rows] = -10.0

    def ends(dtype: torch.dtype) -> list[Tensor]:
        parameter = nn.Parameter(start.to(dtype, copy=True))
        optimizer = optim.Lamb([parameter], lr=0.01, weight_decay=0.1)
        if measured:
            optimizer.measure_rows([parameter], rows)
        for grad in grads:
            parameter.grad = grad.to(dtype, copy=True)
            optimizer.step()
            assert torch.equal(parameter.grad, grad.to(dtype))
        return [parameter.detach(), *optimizer.state[parameter].values()]

    exact = rounding.expected(lambda: ends(torch.float64))
    exact.check(ends(torch.float32))
    monkeypatch.setattr(native, "kernels", lambda: None)
    exact.check(ends(torch.float32))


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.99, 0.99999)], ids=str)
def test_lambs_moments_take_the_share_of_a_gradient_that_the_nearest_float_to_it_is(
    betas: tuple[float, float], compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(native, "kernels", lambda: None)
    parameter = nn.Parameter(torch.ones(5))
    parameter.grad = torch.ones(5)
    optimizer = optim.Lamb([parameter], betas=betas)
    optimizer.step()
    assert optimizer.state[parameter]["exp_avg"].tolist() == [torch.tensor(1.0 - betas[0]).item()] * 5
    assert optimizer.state[parameter]["exp_avg_sq"].tolist() == [torch.tensor(1.0 - betas[1]).item()] * 5


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

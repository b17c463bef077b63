"""The LSTM against torch's, with and without the compiled recurrence, and its DropConnect."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from rnnlab.components.cores.lstm import LSTM, LSTMState
from rnnlab.errors import ConfigError
from rnnlab.ops.dropout import set_batch_offset
from rnnlab.testing import rounding

DTYPES = [torch.float32, torch.float64]  # the first is compiled where there is a compiler, the second is torch's


@pytest.fixture(autouse=True)
def first_sequence() -> Iterator[None]:
    yield
    set_batch_offset(0)


def reference(core: LSTM) -> nn.LSTM:
    twin = nn.LSTM(core.dim, core.dim).double()
    twin.load_state_dict({name: tensor.double() for name, tensor in core.lstm.state_dict().items()})
    return twin


def random_state(batch: int, dim: int, dtype: torch.dtype) -> LSTMState:
    return LSTMState(*(0.5 * torch.randn(2, batch, dim, dtype=dtype)))


def ours(core: LSTM, x: Tensor, state: LSTMState, weights: tuple[Tensor, ...]) -> list[Tensor]:
    """y and the last state, and the gradients of their weighted sum by x, the state and the parameters."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (x, *state)]
    y, after = core(leaves[0], LSTMState(*leaves[1:]))
    return [y, *after, *_gradients((y, *after), weights, [*leaves, *core.parameters()])]


def torchs(twin: nn.LSTM, x: Tensor, state: LSTMState, weights: tuple[Tensor, ...]) -> list[Tensor]:
    """The same of torch's LSTM in float64."""
    leaves = [tensor.detach().double().requires_grad_() for tensor in (x, *state)]
    y, (h, c) = twin(leaves[0], (leaves[1].unsqueeze(0), leaves[2].unsqueeze(0)))
    return [y, h[0], c[0], *_gradients((y, h[0], c[0]), weights, [*leaves, *twin.parameters()])]


def _gradients(results: tuple[Tensor, ...], weights: tuple[Tensor, ...], leaves: list[Tensor]) -> tuple[Tensor, ...]:
    total = sum((got * w.to(got.dtype)).sum() for got, w in zip(results, weights, strict=True))
    return torch.autograd.grad(total, leaves)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("T", "B", "D"), [(1, 1, 1), (1, 3, 8), (9, 1, 33), (20, 5, 16), (7, 8, 40)])
def test_outputs_states_and_gradients_are_those_of_torchs_lstm(T: int, B: int, D: int, dtype: torch.dtype) -> None:
    core = LSTM(D).to(dtype)
    twin = reference(core)
    x, state = torch.randn(T, B, D, dtype=dtype), random_state(B, D, dtype)
    weights = torch.randn(T, B, D), torch.randn(B, D), torch.randn(B, D)
    rounding.expected(lambda: torchs(twin, x, state, weights), dtype).check(ours(core, x, state, weights))


@pytest.mark.parametrize("used", [0, 1, 2], ids=["y", "h", "c"])
def test_each_result_alone_carries_its_gradient(used: int) -> None:
    core = LSTM(6)
    twin = reference(core)
    x, state = torch.randn(5, 2, 6), core.initial_state(2)
    weights = tuple(torch.full((), float(number == used)) for number in range(3))
    rounding.expected(lambda: torchs(twin, x, state, weights)).check(ours(core, x, state, weights))


def test_the_layout_of_the_input_changes_nothing() -> None:
    core = LSTM(7)
    twin = reference(core)
    x, state = torch.randn(3, 7, 11).permute(2, 0, 1), core.initial_state(3)
    assert not x.is_contiguous()
    exact = rounding.expected(lambda: twin(x.double())[0])
    exact.check(core(x, state)[0])
    exact.check(core(x.contiguous(), state)[0])


def test_autocast_leaves_its_recurrence_in_float32() -> None:
    core = LSTM(8)
    x = torch.randn(200, 2, 8)
    plain, _ = core(x, core.initial_state(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = core(x, core.initial_state(2))
    assert state.h.dtype == state.c.dtype == torch.float32
    assert (y.float() - plain).abs().max().item() < 0.03


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dropconnect_drops_hidden_weights_once_a_chunk_for_every_sequence(dtype: torch.dtype) -> None:
    core = LSTM(16, dropconnect=0.5).to(dtype).train()
    x = torch.randn(6, 1, 16, dtype=dtype).expand(6, 4, 16)
    state = LSTMState(*(part.expand(4, 16) for part in random_state(1, 16, dtype)))
    twin, wide = copy.deepcopy(core).double(), LSTMState(*(part.double() for part in state))

    def first_chunk(part: LSTM, x: Tensor, state: LSTMState) -> Tensor:
        torch.manual_seed(1)
        y: Tensor = part(x, state)[0]
        return y

    exact = rounding.expected(lambda: first_chunk(twin, x.double(), wide), dtype)
    y = first_chunk(core, x, state)
    exact.check(y)
    exact.check(y[:, :1].expand_as(y))  # sequences that read the same see the same mask
    set_batch_offset(4)
    exact.check(first_chunk(core, x, state))  # on every rank too
    assert rounding.error(core(x, state)[0], y) > 100 * max(exact.allowed)  # and the next chunk another


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dropconnect_zeroes_and_scales_the_hidden_weights_and_no_others(dtype: torch.dtype) -> None:
    core = LSTM(32, dropconnect=0.25).to(dtype).train()
    x, state = torch.randn(1, 3, 32, dtype=dtype), random_state(3, 32, dtype)
    y, _ = core(x, state)
    y.sum().backward()
    kept = {name: torch.ne(weight.grad, 0) for name, weight in core.lstm.named_parameters() if weight.grad is not None}
    assert kept["weight_hh_l0"].double().mean().item() == pytest.approx(0.75, abs=0.04)
    assert len(kept) == 4
    assert all(mask.all() for name, mask in kept.items() if name != "weight_hh_l0")

    twin = reference(core)
    with torch.no_grad():
        twin.weight_hh_l0.mul_(kept["weight_hh_l0"].double() / 0.75)
    wide = tuple(part.double().unsqueeze(0) for part in state)
    rounding.expected(lambda: twin(x.double(), wide)[0], dtype).check(y)


def test_dropconnect_rests_in_evaluation() -> None:
    core = LSTM(8, dropconnect=0.5).eval()
    x = torch.randn(4, 2, 8)
    twin = reference(core)
    rounding.expected(lambda: twin(x.double())[0]).check(core(x, core.initial_state(2))[0])


@pytest.mark.parametrize(("arguments", "message"), [
    ({"dim": 0}, "LSTM.dim = 0"),
    ({"dim": 4, "dropconnect": 1.0}, "LSTM.dropconnect = 1.0"),
    ({"dim": 4, "dropconnect": -0.1}, "LSTM.dropconnect = -0.1"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LSTM(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(("T", "B", "D"), [(1, 1, 1), (9, 3, 33), (20, 5, 16), (7, 8, 40)])
def test_under_autocast_it_stays_near_and_answers_in_full_precision(T: int, B: int, D: int) -> None:
    torch.manual_seed(0)
    core, state = LSTM(D), random_state(B, D, torch.float32)
    x, weights = torch.randn(T, B, D, requires_grad=True), torch.randn(T, B, D)
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y, after = core(x, state)
        assert y.dtype == after.h.dtype == after.c.dtype == torch.float32
        found.append([y.detach(), after.c.detach(), *torch.autograd.grad((y * weights).sum(), [x, *core.parameters()])])
    for exact, near in zip(*found, strict=True):
        assert near.dtype == exact.dtype
        error = (near - exact).square().mean().sqrt() / exact.square().mean().sqrt()
        assert float(error) < 0.03

"""The LSTM against torch's, with and without the compiled recurrence, and its DropConnect."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from rnnlab.components.cores.lstm import LSTM, LSTMState
from rnnlab.dropout import set_lane_offset
from rnnlab.errors import ConfigError

DTYPES = [torch.float32, torch.float64]  # the first is compiled where there is a compiler, the second is torch's


@pytest.fixture(autouse=True)
def first_lane() -> Iterator[None]:
    yield
    set_lane_offset(0)


def reference(core: LSTM) -> nn.LSTM:
    twin = nn.LSTM(core.dim, core.dim).double()
    twin.load_state_dict({name: tensor.double() for name, tensor in core.lstm.state_dict().items()})
    return twin


def random_state(lanes: int, dim: int, dtype: torch.dtype) -> LSTMState:
    return LSTMState(*(0.5 * torch.randn(2, lanes, dim, dtype=dtype)))


def assert_near(actual: Tensor | None, expected: Tensor | None) -> None:
    assert actual is not None
    assert expected is not None
    tolerance = 1e-9 if actual.dtype == torch.float64 else 2e-5
    torch.testing.assert_close(actual.double(), expected.double(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("T", "B", "D"), [(1, 1, 1), (1, 3, 8), (9, 1, 33), (20, 5, 16), (7, 8, 40)])
def test_outputs_states_and_gradients_are_those_of_torchs_lstm(T: int, B: int, D: int, dtype: torch.dtype) -> None:
    core = LSTM(D).to(dtype)
    twin = reference(core)
    x = torch.randn(T, B, D, dtype=dtype, requires_grad=True)
    state = LSTMState(*(part.requires_grad_() for part in random_state(B, D, dtype)))
    y, after = core(x, state)

    twin_x, h, c = (tensor.detach().double().requires_grad_() for tensor in (x, *state))
    expected, (last_h, last_c) = twin(twin_x, (h.unsqueeze(0), c.unsqueeze(0)))
    for got, want in ((y, expected), (after.h, last_h[0]), (after.c, last_c[0])):
        assert_near(got, want)

    weights = torch.randn(T, B, D), torch.randn(B, D), torch.randn(B, D)
    sum((got * w.to(dtype)).sum() for got, w in zip((y, *after), weights, strict=True)).backward()
    wanted = (expected, last_h[0], last_c[0])
    sum((want * w.double()).sum() for want, w in zip(wanted, weights, strict=True)).backward()
    for got, want in zip((x, *state), (twin_x, h, c), strict=True):
        assert_near(got.grad, want.grad)
    for got, want in zip(core.parameters(), twin.parameters(), strict=True):
        assert_near(got.grad, want.grad)


@pytest.mark.parametrize("used", ["y", "h", "c"])
def test_each_result_alone_carries_its_gradient(used: str) -> None:
    core = LSTM(6)
    twin = reference(core)
    x = torch.randn(5, 2, 6)
    y, after = core(x, core.initial_state(2))
    expected, (h, c) = twin(x.double())
    {"y": y, "h": after.h, "c": after.c}[used].sum().backward()
    {"y": expected, "h": h, "c": c}[used].sum().backward()
    for got, want in zip(core.parameters(), twin.parameters(), strict=True):
        assert_near(got.grad, want.grad)


def test_the_layout_of_the_input_changes_nothing() -> None:
    core = LSTM(7)
    x = torch.randn(3, 7, 11).permute(2, 0, 1)
    assert not x.is_contiguous()
    torch.testing.assert_close(core(x, core.initial_state(3)), core(x.contiguous(), core.initial_state(3)))


def test_autocast_leaves_its_recurrence_in_float32() -> None:
    core = LSTM(8)
    x = torch.randn(200, 2, 8)
    plain, _ = core(x, core.initial_state(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = core(x, core.initial_state(2))
    assert state.h.dtype == state.c.dtype == torch.float32
    assert (y.float() - plain).abs().max().item() < 0.03


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dropconnect_drops_hidden_weights_once_a_chunk_for_every_lane(dtype: torch.dtype) -> None:
    core = LSTM(16, dropconnect=0.5).to(dtype).train()
    x = torch.randn(6, 1, 16, dtype=dtype).expand(6, 4, 16)
    state = LSTMState(*(part.expand(4, 16) for part in random_state(1, 16, dtype)))
    torch.manual_seed(1)
    y, _ = core(x, state)
    torch.testing.assert_close(y, y[:, :1].expand_as(y))  # lanes that read the same see the same mask
    torch.manual_seed(1)
    set_lane_offset(4)
    torch.testing.assert_close(core(x, state)[0], y)  # on every rank too
    assert not torch.equal(core(x, state)[0], y)  # and the next chunk another


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
    expected, _ = twin(x.double(), (state.h.double().unsqueeze(0), state.c.double().unsqueeze(0)))
    assert_near(y, expected)


def test_dropconnect_rests_in_evaluation() -> None:
    core = LSTM(8, dropconnect=0.5).eval()
    x = torch.randn(4, 2, 8)
    y, _ = core(x, core.initial_state(2))
    assert_near(y, reference(core)(x.double())[0])


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

"""The training step that is held to float64, and that it tells right code from wrong."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rnnlab.doctor import step
from rnnlab.ops import native
from rnnlab.testing.rounding import Expected

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


def skip_without(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("core", step.CORES)
def test_a_step_is_within_rounding(core: str, device: str) -> None:
    skip_without(device)
    found = step.step("a step", core, device)
    assert found.verdict == "good", found
    assert "25 gradient norms" in found.detail


@pytest.mark.slow
def test_a_step_in_plain_torch_is_within_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNLAB_NATIVE", "0")
    native.kernels.cache_clear()
    try:
        assert step.step("a step", "QRNN", "cpu").verdict == "good"
    finally:
        native.kernels.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("relative", "verdict"),
    [(1e-4, "warning"), (3e-2, "bad")],
    ids=["as products in TF32 are", "more than any rounding"],
)
def test_a_step_that_is_off_by_more_than_rounding_is_told(
    monkeypatch: pytest.MonkeyPatch, relative: float, verdict: str
) -> None:
    right = step.Learner.step

    def wrong(learner: step.Learner, by_part: bool = False) -> Any:
        answer = right(learner, by_part)
        answer["grad_norms"]["blocks.2.core"] *= 1.0 + relative
        return answer

    monkeypatch.setattr(step.Learner, "step", wrong)
    found = step.step("a step", "QRNN", "cpu")
    assert found.verdict == verdict, found
    assert "blocks.2.core is off by" in found.detail
    assert found.remedy


def test_a_result_that_is_not_a_number_is_furthest_off() -> None:
    exact = Expected([torch.tensor(1.0), torch.tensor(0.0)], [1e-6, 0.0], ["['loss']", "['blocks.0.core']"])

    def found(loss: float, norm: float) -> dict[str, Tensor]:
        return {"loss": torch.tensor(loss, dtype=torch.float64), "blocks.0.core": torch.tensor(norm)}

    assert step.furthest(exact, found(1.0, 0.0))[1] == 0.0
    assert step.furthest(exact, found(float("nan"), 0.0)) == ("loss", float("inf"))
    assert step.furthest(exact, found(1.0, 1e-9))[0] == "blocks.0.core"


def test_a_device_that_is_not_there_leaves_the_step_on_the_cpu() -> None:
    names = [check.args[0] for check in step.checks("cuda:99")]  # type: ignore[attr-defined]
    assert names == ["LSTM on cpu", "QRNN on cpu"]


@pytest.mark.slow
def test_random_numbers_are_as_they_were_after_it() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    step.step("a step", "QRNN", "cpu")
    assert torch.equal(torch.rand(1), expected)

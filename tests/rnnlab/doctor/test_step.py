"""The training step that is held to float64, and that it tells right code from wrong."""

import shutil
from collections.abc import Iterator
from pathlib import Path
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


@pytest.fixture
def _wrong_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The QRNN's output gate is off by a thousandth."""
    sources = shutil.copytree(native.KERNELS, tmp_path / "kernels")
    text = (sources / "qrnn.c").read_text()
    assert text.count("o[j] = sigmoid(o[j] + o_bias[j]);") == 1
    wrong = text.replace("o[j] = sigmoid(o[j] + o_bias[j]);", "o[j] = 1.001f * sigmoid(o[j] + o_bias[j]);")
    (sources / "qrnn.c").write_text(wrong)
    monkeypatch.setattr(native, "KERNELS", sources)
    monkeypatch.setenv("RNNLAB_CACHE", str(tmp_path / "cache"))
    native.kernels.cache_clear()
    if native.kernels() is None:
        pytest.skip("there is no C compiler")
    yield
    native.kernels.cache_clear()


@pytest.mark.long
@pytest.mark.usefixtures("_wrong_kernel")
def test_a_kernel_that_is_off_by_a_thousandth_is_told() -> None:
    assert step.step("a step", "LSTM", "cpu").verdict == "good"
    found = step.step("a step", "QRNN", "cpu")
    assert found.verdict == "bad", found
    assert "times what rounding explains" in found.detail
    assert "rnnlab check" in found.remedy


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_whose_products_are_in_tf32_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    right = step.Learner.step

    def in_tf32(learner: step.Learner, by_part: bool = False) -> Any:
        learner.trainer.precision = "tf32"
        return right(learner, by_part)

    monkeypatch.setattr(step.Learner, "step", in_tf32)
    found = step.step("a step", "LSTM", "cuda")
    assert found.verdict == "warning", found
    assert "as products in TF32 are" in found.detail


def test_the_verdict_follows_from_how_far_a_result_is_off() -> None:
    assert step._judge("loss", 1.0, False)[0] == "good"
    assert step._judge("loss", 1.1, True)[0] == "warning"
    assert step._judge("loss", 1.1, False)[0] == "bad"
    assert step._judge("loss", float("nan"), False)[0] == "bad"


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

"""bf16 and fp16: near fp32, and an overflow costs a step and nothing else."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rnnlab.errors import ConfigError, Diverged
from rnnlab.evaluation import evaluate
from rnnlab.matmul import products_in
from rnnlab.scoring.losses import cross_entropy
from rnnlab.state import flatten, map_state
from rnnlab.training import learner as learner_module
from rnnlab.training.learner import Learner
from rnnlab.training.loop import check_fit
from tests.rnnlab.tiny_runs import build, journal, train

FP16 = "Trainer.precision = 'fp16'"


def continues(learner: Learner) -> dict[str, Tensor]:
    """The parameters and the optimizer's memory, copied."""
    tensors = learner.snapshot().tensors
    return {name: x.clone() for name, x in tensors.items() if not name.startswith("state/")}


def expect_same(after: dict[str, Tensor], before: dict[str, Tensor]) -> None:
    assert after.keys() == before.keys()
    for name, x in before.items():
        assert torch.equal(after[name], x), name


@pytest.mark.long
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_half_precision_learns_what_fp32_learns(precision: str, text: Path, tmp_path: Path) -> None:
    results = [
        train(tmp_path / name, text, "dropout = 0.0", "Trainer.steps = 60", f"Trainer.precision = {name!r}")
        for name in ("fp32", precision)
    ]
    assert results[0]["valid_bpc"] < 6.0
    assert results[1]["valid_bpc"] == pytest.approx(results[0]["valid_bpc"], abs=0.05)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_parameters_and_moments_stay_in_fp32(precision: str, text: Path) -> None:
    learner = Learner(build(text, f"Trainer.precision = {precision!r}"))
    learner.step()
    assert {x.dtype for x in continues(learner).values()} == {torch.float32}


@pytest.mark.slow
def test_an_overflow_skips_the_step_and_is_counted(text: Path) -> None:
    learner = Learner(build(text, FP16))
    learner.step()
    before, scale = continues(learner), 2.0**30
    learner.scaler.update(scale)
    record = learner.step()
    assert not math.isfinite(record["grad_norm"])
    assert learner.progress.overflows == 1
    assert learner.progress.step == 2
    assert learner.scaler.get_scale() == scale / 2
    expect_same(continues(learner), before)
    while learner.progress.overflows == learner.progress.step - 1:
        learner.step()
    assert learner.scaler.get_scale() < scale
    assert not torch.equal(continues(learner)["model/output_bias"], before["model/output_bias"])


def test_a_loss_that_overflows_alone_skips_the_step_too(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target whose logit is -inf has an infinite loss and a gradient that is finite."""
    learner = Learner(build(text, FP16))
    learner.step()
    learner.scaler.update(16.0)
    before = continues(learner)

    def minus_infinity(logits: Tensor, targets: Tensor) -> Tensor:
        hit = torch.zeros_like(logits).scatter_(-1, targets.unsqueeze(-1)[:1, :1], -torch.inf)
        return cross_entropy(logits + hit, targets)

    monkeypatch.setattr(learner_module, "cross_entropy", minus_infinity)
    record = learner.step()
    assert record["loss"] == math.inf
    assert math.isfinite(record["grad_norm"])
    assert learner.progress.overflows == 1
    expect_same(continues(learner), before)


@pytest.mark.parametrize("finite", [True, False])
def test_the_stream_of_a_skipped_step_is_kept_only_if_it_is_finite(
    finite: bool, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = Learner(build(text, FP16))
    learner.step()
    learner.scaler.update(2.0**30)
    real = learner.backward

    def backward(chunks: Any) -> Any:
        loss, state = real(chunks)
        return loss, state if finite else map_state(lambda leaf: leaf + torch.inf, state)

    monkeypatch.setattr(learner, "backward", backward)
    before = flatten(learner.state)
    learner.step()
    assert learner.progress.overflows == 1
    after = flatten(learner.state)
    assert all(bool(leaf.isfinite().all()) for leaf in after.values())
    assert all(after[name] is before[name] for name in before) != finite


@pytest.mark.slow
def test_a_run_in_fp16_that_never_becomes_finite_diverges(text: Path) -> None:
    learner = Learner(build(text, FP16))
    with torch.no_grad():
        learner.model.output_bias[7] = torch.nan

    def train_on() -> None:
        for _ in range(100):
            learner.step()

    with pytest.raises(Diverged):
        train_on()
    assert 10 < learner.progress.overflows < 30


def test_skipped_steps_are_in_the_result_and_no_spike_is_made_of_them(text: Path, tmp_path: Path) -> None:
    result = train(tmp_path / "run", text, FP16, "Trainer.steps = 5")
    assert result["overflows"] >= 0
    assert result["precision"] == "fp16"
    assert {record["kind"] for record in journal(tmp_path / "run")} == {"train", "valid"}


def test_tf32_is_refused_where_there_is_no_nvidia_gpu(text: Path) -> None:
    with pytest.raises(ConfigError, match="tf32"):
        check_fit(build(text, "Trainer.precision = 'tf32'", "Trainer.device = 'cpu'"))


def settings() -> tuple[str, str]:
    return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.rnn.fp32_precision


def test_fp32_is_not_tf32_in_a_step_or_a_score_and_the_process_keeps_its_settings(text: Path) -> None:
    """torch's own default for cuDNN's recurrent layers is TF32."""
    before, seen = settings(), list[tuple[str, str]]()
    learner = Learner(build(text))
    assert before[1] == "tf32"
    learner.model.register_forward_hook(lambda *_: seen.append(settings()))
    learner.model.embedding.weight.register_hook(lambda _: seen.append(settings()))  # in the backward pass
    learner.step()
    evaluate(learner.model, learner.source.valid, batch_size=2, bptt=64)
    assert len(seen) > 3
    assert set(seen) == {("ieee", "ieee")}
    assert settings() == before


@pytest.mark.parametrize(("precision", "want"), [("tf32", "tf32"), ("fp32", "ieee"), ("bf16", "ieee")])
def test_the_precision_of_products_is_set_and_put_back_even_after_an_error(precision: str, want: str) -> None:
    before = settings()

    def fail() -> None:
        with products_in(precision):
            assert settings() == (want, want)
            raise Diverged("no")

    with pytest.raises(Diverged):
        fail()
    assert settings() == before


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_fp32_on_a_gpu_is_exact_and_tf32_is_not(text: Path) -> None:
    """Of a loss, from the same parameters: in fp32 its error is a hundredth of that in TF32."""
    bindings = ["Trainer.device = 'cuda'", "LanguageModel.dim = 256", "dropout = 0.0"]
    exact = Learner(build(text, *bindings))
    exact.model.double()
    want = exact.step()["grad_norm"]
    fp32, tf32 = (
        abs(Learner(build(text, *bindings, f"Trainer.precision = {name!r}")).step()["grad_norm"] - want)
        for name in ("fp32", "tf32")
    )
    assert fp32 < 1e-5 * want
    assert tf32 > 5 * fp32

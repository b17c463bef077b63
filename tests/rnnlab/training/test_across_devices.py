"""A run goes on, is looked at and is scored on another device than it was trained on."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import rnnlab
from rnnlab.storage.runfolder import RunFolder
from rnnlab.training.replay import replay
from tests.rnnlab.tiny_runs import train

STEPS = ["Trainer.steps = 12", "Trainer.save_every = 4", "dropout = 0.1"]


def goes_on_here(run: Path) -> None:
    """Replay a step, score the run, and resume it from the checkpoint before its last, on the CPU."""
    seen = replay(run, 10, device="cpu")
    assert seen.recorded_loss == pytest.approx(seen.loss, rel=2e-2)
    assert rnnlab.evaluate(run, "valid", device="cpu").bpc < 8.5
    shutil.rmtree(run / "checkpoints" / "step-00000012", ignore_errors=True)
    result = rnnlab.resume(run, ["Trainer.device = 'cpu'"])
    assert (result["status"], result["steps"], result["device"]) == ("done", 12, "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("core", ["LSTM", "GRU", "QRNN"])
def test_a_checkpoint_whose_states_are_in_half_precision_goes_on(core: str, text: Path, tmp_path: Path) -> None:
    """As cuDNN left h and c under autocast: read as raw memory by a kernel they would break the heap."""
    run = tmp_path / "run"
    train(run, text, *STEPS, f"Block.core = @core.{core}", "Trainer.precision = 'bf16'")
    folder = RunFolder.open(run)
    snapshot = folder.newest(at_most=8)
    halves = {name: x.half() if name.startswith("state/") else x for name, x in snapshot.tensors.items()}
    with folder.hold():
        folder.save(replace(snapshot, tensors=halves))
    goes_on_here(run)
    assert {x.dtype for name, x in folder.newest().section("state").items() if "core" in name} == {torch.float16}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("core", ["LSTM", "GRU", "QRNN"])
def test_what_a_gpu_trained_goes_on_on_the_cpu(core: str, precision: str, text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bindings = [*STEPS, f"Block.core = @core.{core}", f"Trainer.precision = {precision!r}", "Trainer.device = 'cuda'"]
    assert train(run, text, *bindings)["device"] == "cuda:0"
    goes_on_here(run)

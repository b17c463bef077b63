"""A training step, held to the same step in float64: loss, and the norm of every part's gradient."""

import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from rnnlab import config
from rnnlab.data.corpora import corpus_bindings
from rnnlab.doctor.finding import Check, Finding, Verdict
from rnnlab.doctor.gpu import device_of
from rnnlab.errors import ConfigError
from rnnlab.testing import rounding
from rnnlab.training.experiment import build
from rnnlab.training.gradients import norms_by_part
from rnnlab.training.learner import Learner
from rnnlab.training.threads import using_threads

CORES = ("LSTM", "QRNN")  # what cuDNN computes, and what the linear recurrence does
SIZES = ["dropout = 0.0", "Trainer.batch_size = 2", "Trainer.bptt = 12"]  # no masks: a GPU draws others
TF32 = torch.float16  # has as many bits
TEXT = bytes(range(32, 127)) * 20


def checks(device: str) -> list[Check]:
    devices = ["cpu"]
    try:
        found = device_of(device)
    except ConfigError:  # the line of the device says so
        found = torch.device("cpu")
    if found.type != "cpu":
        devices.append(str(found))
    return [partial(step, f"{core} on {each}", core, each) for core in CORES for each in devices]


def step(name: str, core: str, device: str) -> Finding:
    """One step in float32 by the code that trains there (compiled kernels, cuDNN, Triton), against plain torch."""
    started = time.perf_counter()
    with ExitStack() as stack:
        stack.enter_context(using_threads(1))  # as a model of this size is trained
        stack.enter_context(torch.random.fork_rng(devices=[]))
        text = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rnnlab-doctor-"))) / "text"
        text.write_bytes(TEXT)
        plain = _learner(core, text, "cpu", torch.float64)
        exact = rounding.expected(partial(gradient, plain))
        said = _learner(core, text, device).step(by_part=True)
        found = _tensors(said["loss"], said["grad_norms"])
        worst, ratio = furthest(exact, found)
        is_tf32 = False
        if ratio > rounding.CUDNN and device != "cpu":
            is_tf32 = furthest(rounding.expected(partial(gradient, plain), TF32), found)[1] <= 1.0
    told = f"loss {said['loss']:.4f}, {len(said['grad_norms'])} gradient norms"
    verdict, how, remedy = _judge(worst, ratio if device == "cpu" else ratio / rounding.CUDNN, is_tf32)
    return Finding(name, verdict, f"{told}: {how}; {time.perf_counter() - started:.1f} s", remedy)


def _judge(worst: str, ratio: float, is_tf32: bool) -> tuple[Verdict, str, str]:
    """(verdict, how far the result `worst` is off, remedy)."""
    if ratio <= 1.0:
        return "good", f"off by at most {ratio:.2g} of what rounding explains", ""
    how = f"{worst} is off by {ratio:.2g} times what rounding explains"
    if is_tf32:
        remedy = "unset NVIDIA_TF32_OVERRIDE; if it is not set, report it: precision 'fp32' is to be exact"
        return "warning", f"{how}, as products in TF32 are", remedy
    return "bad", how, "run `rnnlab check --all`; if every law holds, report this line"


def _learner(core: str, text: Path, device: str, dtype: torch.dtype = torch.float32) -> Learner:
    """A model of size/tiny, drawn from the seed on the CPU."""
    overrides = [*SIZES, *corpus_bindings(str(text)), f"Trainer.device = {device!r}"]
    experiment = build(config.resolve(["sha_rnn", "size/tiny", f"core/{core.lower()}"], overrides))
    experiment.model.to(dtype)
    return Learner(experiment)


def gradient(learner: Learner) -> dict[str, Tensor]:
    """Loss [nats] and the norm of each part's gradient at the learner's next step."""
    told, _ = learner.backward(learner.chunks())
    return _tensors(float(told.loss), norms_by_part(learner.model.named_parameters()))


def _tensors(loss: float, norms: dict[str, float]) -> dict[str, Tensor]:
    values = {"loss": loss, **norms}
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def furthest(exact: rounding.Expected, found: dict[str, Tensor]) -> tuple[str, float]:
    """The result that is furthest off, and how far, in errors that are allowed."""
    by_place = {f"[{name!r}]": value for name, value in found.items()}
    off = [rounding.error(by_place[name], value) for name, value in zip(exact.names, exact.values, strict=True)]
    ratios = [error and error / max(allowed, 1e-300) for error, allowed in zip(off, exact.allowed, strict=True)]
    worst = max(range(len(ratios)), key=ratios.__getitem__)
    return exact.names[worst].strip("[]'"), ratios[worst]

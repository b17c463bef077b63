"""Whether Triton can be used is found out by using it, and all its kernels are launched in one way."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rnnlab import ops
from rnnlab.ops import triton_devices
from rnnlab.testing import rounding
from rnnlab.training.cudagraph import GraphedPass
from rnnlab.training.learner import Learner
from tests.rnnlab.tiny_runs import build, losses_of, write_text

pytest.importorskip("triton")

ROOT = Path(__file__).parents[2]
OPS = Path(ops.__file__).parent

COMPILERS = {
    "none": ({"PATH": ""}, "Failed to find C compiler"),
    "one that is not there": ({"CC": "/nowhere/cc"}, "/nowhere/cc"),
    "one that fails, as without Python.h": ({"CC": "/bin/false"}, "CalledProcessError"),
}

WITHOUT_A_DRIVER = """
import json, os, sys, torch
from triton.backends.nvidia.driver import CudaDriver
CudaDriver.is_active = staticmethod(lambda: True)  # so that Triton goes on to compile what it talks to the driver with
from rnnlab.ops import triton_devices
before = dict(os.environ)
for changes in json.loads(sys.argv[1]):
    os.environ.update(before | changes)
    triton_devices.usable.cache_clear()
    print(*[triton_devices.usable(torch.device("cpu")) for _ in range(2)])
    os.environ.pop("CC", None)
"""

ON_A_CARD = """
import torch
from rnnlab.ops import linear_recurrence
from rnnlab.ops.dropout import dropout
results = []
for device in ("cpu", "cuda"):
    torch.manual_seed(0)
    a, b, h0 = (torch.rand(size).to(device).requires_grad_() for size in ((40, 3, 5), (40, 3, 5), (3, 5)))
    y = dropout(linear_recurrence(a, b, h0), 0.3, True)
    results.append([x.cpu() for x in (y, *torch.autograd.grad(y.sum(), (a, b, h0)))])
for here, there in zip(*results, strict=True):
    torch.testing.assert_close(there, here)
"""


def run(script: str, folder: Path, changes: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process that finds nothing compiled before."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CC", "TRITON_INTERPRET")}
    environment = kept | {"TRITON_CACHE_DIR": str(folder / "cache")} | changes
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def notices(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("rnnlab: ")]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a driver")
def test_without_a_driver_one_line_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    triton_devices.usable.cache_clear()
    assert [triton_devices.usable(torch.device("cpu")) for _ in range(2)] == [False, False]
    (line,) = notices(capfd.readouterr().err)
    assert line.startswith("rnnlab: no Triton kernels on cpu (RuntimeError: 0 active drivers")
    assert line.endswith("; going on in plain torch, more slowly, with the same results")


@pytest.mark.long
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a driver")
def test_without_a_working_compiler_one_line_says_so(tmp_path: Path) -> None:
    changes, reasons = zip(*COMPILERS.values(), strict=True)
    done = run(WITHOUT_A_DRIVER, tmp_path, {"TRITON_LIBCUDA_PATH": str(tmp_path)}, json.dumps(changes))
    assert done.stdout == "False False\n" * len(COMPILERS), done.stderr
    for line, reason in zip(notices(done.stderr), reasons, strict=True):
        assert reason in line


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("compiler", COMPILERS)
def test_on_a_card_without_a_working_compiler_torch_takes_the_place_of_triton(compiler: str, tmp_path: Path) -> None:
    changes, reason = COMPILERS[compiler]
    done = run(ON_A_CARD, tmp_path, changes)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in notices(done.stderr) if "Triton" in line]
    assert "no Triton kernels on cuda:0" in line
    assert reason in line


def test_kernels_are_launched_by_the_one_function_that_turns_to_their_device() -> None:
    launches = {
        path.stem
        for path in OPS.glob("*triton*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Subscript)
    }
    assert launches == {"triton_devices"}


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_a_kernel_runs_where_its_tensors_are_and_not_on_the_current_device() -> None:
    with torch.cuda.device(0):
        assert triton_devices.usable(torch.device("cuda:1"))
        x = torch.rand(20, 3, 5, device="cuda:1")
        h = ops.linear_recurrence(x, x, x[0])
        assert torch.cuda.current_device() == 0
    torch.testing.assert_close(h.cpu(), ops.linear_recurrence(*(y.cpu() for y in (x, x, x[0]))))


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_a_pass_is_recorded_on_the_device_of_the_run_and_not_on_the_current_one(tmp_path: Path) -> None:
    text, steady = write_text(tmp_path), ["Trainer.jitter = False", "Trainer.device = 'cuda:1'"]
    exact = Learner(build(text, *steady))
    exact.model.double()
    plain, recorded = Learner(build(text, *steady)), Learner(build(text, *steady, "Trainer.cuda_graph = True"))
    with torch.cuda.device(0):
        want, got, wanted = (losses_of(learner, 12) for learner in (plain, recorded, exact))
    rounding.check_no_worse(got, than=want, exact=wanted)
    assert isinstance(recorded._pass, GraphedPass)
    assert recorded._pass.recorded

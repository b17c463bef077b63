"""Which dtypes a model has on a GPU, seen without one: tensors without numbers that say they are there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.once import once

HERE = Path(__file__).parent
CORES = sorted({path.stem for path in (HERE.parents[1] / "gin" / "core").glob("*.gin")} - {"lstm"})  # the root's own
ROOTS = [
    "sha_rnn",
    "sha_rnn_every_layer",
    "sha_lstm_no_attention",
    "sru_pp",
    "sha_rnn,block/pre_norm,attention/projected",
]
MODELS = [*ROOTS, *(f"sha_rnn,core/{core}" for core in CORES)]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(torch.version.cuda is not None, reason="torch has CUDA: its tests run on a card"),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        assert not os.environ.get("CI"), "the C++ compiler is missing: .ci/run installs it"
        pytest.skip("no C++ compiler")

    def make(folder: Path) -> None:
        built = folder / "fake_cuda.so"
        torch_folder = Path(torch.__file__).parent
        include = torch_folder / "include"
        subprocess.run(
            [compiler, "-O0", "-shared", "-fPIC", "-std=c++20", HERE / "fake_cuda.cpp", "-o", built, f"-I{include}",
             f"-I{include}/torch/csrc/api/include", f"-L{torch_folder}/lib", "-ltorch_cpu", "-lc10"],
            check=True,
        )  # fmt: skip
        command = [sys.executable, "-m", "tests.gpu.fake_cuda", str(built), *MODELS]
        done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parents[1], check=False)
        assert done.returncode == 0, done.stderr
        (folder / "answer.json").write_text(done.stdout)

    answer: dict[str, Any] = json.loads((once(tmp_path_factory, "fake_cuda", make) / "answer.json").read_text())
    return answer


@pytest.mark.parametrize("model", MODELS)
def test_states_keep_their_dtypes_and_stay_on_the_card(model: str, found: dict[str, Any]) -> None:
    for precision, seen in found[model].items():
        kept = {path: seen["ended"][path] for path in seen["started"]}
        assert kept == seen["started"], precision
        assert all(where.endswith("on cuda") for where in seen["ended"].values()), precision


@pytest.mark.parametrize("model", [model for model in MODELS if "no_attention" not in model])
@pytest.mark.parametrize(("precision", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")])
def test_a_memory_is_in_the_dtype_of_the_products(
    model: str, precision: str, dtype: str, found: dict[str, Any]
) -> None:
    memories = {where for path, where in found[model][precision]["ended"].items() if path.endswith("positions")}
    assert memories == {f"{dtype} on cuda"}


@pytest.mark.parametrize("model", ["sha_rnn", "sha_rnn,core/gru"])
def test_cudnn_computes_in_float32_or_float16_and_all_it_is_given_is_in_it(model: str, found: dict[str, Any]) -> None:
    given = {precision: seen["cudnn"] for precision, seen in found[model].items()}
    half = ["float16 on cuda"]
    assert given == {"fp32": ["float32 on cuda"], "bf16": half, "fp16": half}

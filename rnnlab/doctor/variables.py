"""Environment variables that change results or behavior."""

import os
import re
from collections.abc import Iterator, Mapping

from rnnlab.doctor.finding import Check, Finding, Verdict
from rnnlab.safe_text import as_utf8, hide_secrets, printable

NAMES = re.compile(
    r"(RNNLAB|TORCH|PYTORCH|TORCHINDUCTOR|TORCHELASTIC|TRITON|CUDA|CUBLAS|CUDNN|NCCL|GLOO|HIP|ROCR|HSA|OMP|GOMP|KMP|MKL"
    r"|ONEDNN|DNNL)_\w+|TORCHDYNAMO_\w+|NVIDIA_TF32_OVERRIDE|CC|XDG_CACHE_HOME|LD_PRELOAD"
    r"|WORLD_SIZE|RANK|LOCAL_RANK|LOCAL_WORLD_SIZE|MASTER_ADDR|MASTER_PORT"
)
SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY")
RANKS = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
MOST_SHOWN = 100  # [characters] of a value


def checks(device: str) -> list[Check]:
    return [variables]


def variables() -> list[Finding]:
    """Those that are set, each with what it does where that is seldom meant."""
    found = list(judged(os.environ))
    return found or [Finding("variables", "good", "none is set that changes results or behavior")]


def judged(environment: Mapping[str, str]) -> Iterator[Finding]:
    for name in sorted(filter(NAMES.fullmatch, environment)):
        value = environment[name]
        verdict, said, remedy = _judge(name, value, environment)
        told = printable(hide_secrets(as_utf8(value)))
        shown = "***" if SECRET.search(name) else told if len(told) <= MOST_SHOWN else f"{told[:MOST_SHOWN]}..."
        yield Finding(name, verdict, f"{shown or '(empty)'}{said and f'; {said}'}", remedy)


def _judge(name: str, value: str, environment: Mapping[str, str]) -> tuple[Verdict, str, str]:
    """(verdict, what the variable does, remedy)."""
    if name in RANKS and environment.get("WORLD_SIZE", "1") != "1" and "TORCHELASTIC_RUN_ID" not in environment:
        said = "of ranks that torchrun did not start: `rnnlab train` waits for the others"
        return "warning", said, f"unset {' '.join(each for each in RANKS if each in environment)}"
    if name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES") and value.strip() in ("", "-1"):
        return "warning", "hides every GPU", f"unset {name}, if there is one to use"
    if name == "NVIDIA_TF32_OVERRIDE" and value == "1":
        return "warning", "products in float32 are TF32's, with 10 bits", f"unset {name}"
    if name == "CUDA_LAUNCH_BLOCKING" and value == "1":
        return "warning", "the host waits for every kernel: slow", f"unset {name}"
    if name == "TRITON_INTERPRET" and value not in ("", "0"):
        return "warning", "Triton's kernels run in Python: very slow", f"unset {name}"
    return "good", "", ""

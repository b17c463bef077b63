"""Every Triton kernel compiled ahead of time for GPUs that are not here: it compiles, and fits in the registers."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.sampled import sampled

pytest.importorskip("triton")

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from rnnlab.ops import dropout_triton, recurrence_triton, triton_trial

TARGETS = {
    "A100": GPUTarget("cuda", 80, 32),
    "RTX 4090": GPUTarget("cuda", 89, 32),
    "H100": GPUTarget("cuda", 90, 32),
    "MI300": GPUTarget("hip", "gfx942", 64),
}


@dataclass(frozen=True)
class Kernel:
    """One way in which a kernel is launched.

    Attributes:
        types: of pointers, where they are not all to `values`, and of scalars that are no int32.
        most: registers of a thread on any of TARGETS, a fifth more than Triton 3.7.1 takes.
    """

    function: Any
    values: str
    constants: dict[str, Any]
    most: int
    types: dict[str, str] = field(default_factory=dict)


def dropout(values: str, most: int, read_key: bool = False, rows: int = 2, padded: bool = False) -> Kernel:
    constants = {
        "PADDED": padded,
        "READ_KEY": read_key,
        "LONG": False,
        "ROWS": rows,
        "WIDTH": dropout_triton.TILE // rows,
    }
    types = {"scale": "fp32"} | ({"key_ptr": "*i64"} if read_key else {})
    return Kernel(dropout_triton._drop, values, constants, most, types)


SCAN = {"TILE": recurrence_triton.TILE, "WIDTH": recurrence_triton.WIDTH}
KERNELS = {
    "recurrence": Kernel(recurrence_triton._forward, "*fp32", SCAN, most=118),
    "recurrence, backward": Kernel(recurrence_triton._backward, "*fp32", SCAN, most=152),
    "dropout, forward and backward, fp32": dropout("*fp32", most=48),
    "dropout, bf16": dropout("*bf16", most=48),
    "dropout, fp16, of narrow rows": dropout("*fp16", most=48, rows=128),
    "dropout, bf16, in a CUDA graph": dropout("*bf16", most=48, read_key=True),
    "dropout, bf16, of padded rows": dropout("*bf16", most=64, padded=True),
    "trial": Kernel(triton_trial._add_one, "*i64", {"SIZE": 32}, most=16),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))


def compiled(kernel: Kernel, target: GPUTarget, of_ones: bool = False) -> Any:
    """As for sizes and addresses that are multiples of 16, or sizes of 1: Triton compiles both on their own."""
    names, signature, attributes, constants = kernel.function.arg_names, {}, {}, dict(kernel.constants)
    for place, name in enumerate(names):
        default = kernel.values if name.endswith("_ptr") else "i32"
        signature[name] = "constexpr" if name in kernel.constants else kernel.types.get(name, default)
        if signature[name] in ("constexpr", "fp32") or name in (kernel.function.do_not_specialize or ()):
            continue
        if of_ones and signature[name] == "i32":
            signature[name], constants[name] = "constexpr", 1
        else:
            attributes[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel.function, signature, constants, attributes)
    return triton.compile(source, target=target)


def resources(kernel: Any, target: GPUTarget, folder: Path) -> tuple[int, int]:
    """Registers of a thread, and what is spilled from them: bytes on NVIDIA's, registers on AMD's."""
    if target.backend == "hip":
        counts = {name: int(n) for name, n in re.findall(r"\.([sv]gpr\w*_count):\s+(\d+)", kernel.asm["amdgcn"])}
        return counts["vgpr_count"], counts["vgpr_spill_count"] + counts["sgpr_spill_count"]
    code = folder / "kernel.ptx"
    code.write_text(kernel.asm["ptx"])
    (arch,) = re.findall(r"^\.target (sm_\w+)", kernel.asm["ptx"], re.MULTILINE)
    command = [triton.knobs.nvidia.ptxas.path, "-v", f"-arch={arch}", code, "-o", folder / "cubin"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    spilled = re.findall(r"(\d+) bytes spill (?:stores|loads)", said)
    (registers,) = re.findall(r"Used (\d+) registers", said)
    assert len(spilled) == 2, said
    return int(registers), sum(map(int, spilled))


@pytest.mark.slow
@pytest.mark.parametrize("gpu", sampled(TARGETS, ("H100",)))
def test_every_kernel_compiles_and_fits_in_the_registers(gpu: str, tmp_path: Path) -> None:
    for name, kernel in KERNELS.items():
        registers, spilled = resources(compiled(kernel, TARGETS[gpu]), TARGETS[gpu], tmp_path)
        assert spilled == 0, name
        assert registers <= kernel.most, f"{name}: {registers} registers"


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_compiles_for_sizes_of_1(name: str) -> None:
    """They are constants then, without the methods that a kernel's numbers have."""
    compiled(KERNELS[name], TARGETS["H100"], of_ones=True)


@pytest.mark.slow
@pytest.mark.parametrize("values", ["*fp32", "*bf16"])
def test_dropout_moves_16_bytes_at_a_time_and_divides_in_32_bits(values: str) -> None:
    ptx = compiled(dropout(values, most=48), TARGETS["H100"]).asm["ptx"]
    assert set(re.findall(r"\bld\.global[\w.]*", ptx)) == {"ld.global.v4.b32"}
    assert set(re.findall(r"\bst\.global[\w.]*", ptx)) == {"st.global.v4.b32"}
    assert not re.findall(r"\b(?:div|rem)\.\w64", ptx)


def test_every_kernel_stands_in_the_table() -> None:
    modules = (dropout_triton, recurrence_triton, triton_trial)
    kernels = {
        function
        for module in modules
        for function in vars(module).values()
        if isinstance(function, triton.JITFunction) and any(name.endswith("_ptr") for name in function.arg_names)
    }
    assert kernels == {kernel.function for kernel in KERNELS.values()}
    files = Path(dropout_triton.__file__).parent.glob("*.py")
    with_kernels = {path.stem for path in files if "triton.jit" in path.read_text()}
    assert with_kernels == {module.__name__.rpartition(".")[2] for module in modules}

"""The CPU: its threads, its precision, and the kernels that are compiled for it."""

import contextlib
import io
import os
import shlex
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from rnnlab.cache import own_folder, user_cache
from rnnlab.doctor.finding import Check, Finding
from rnnlab.ops import native

CGROUPS = Path("/sys/fs/cgroup")
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""What /proc/cpuinfo calls instructions for products in bf16, of x86 and of ARM."""
COMPILER_REMEDY = "install a C compiler (apt install gcc), or set RNNLAB_NATIVE=0 if plain torch is meant"


def checks(device: str) -> list[Check]:
    return [processor, threads, bf16, compiler, kernels, gloo]


def processor() -> Finding:
    """What torch uses of the processor."""
    return Finding("processor", "good", f"{_model() or 'of unknown name'}, {torch.backends.cpu.get_cpu_capability()}")


def _model() -> str:
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return names[0] if names else ""


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return []


def threads() -> Finding:
    used, cores, machine = torch.get_num_threads(), usable_cores(), os.cpu_count() or 1
    told = f"{used} of torch, {_count(cores)} usable of {machine}"
    if used > cores:
        remedy = f"OMP_NUM_THREADS={max(1, int(cores))}: more threads than cores wait for each other"
        return Finding("threads", "warning", told, remedy)
    return Finding("threads", "good", told)


def _count(cores: float) -> str:
    return f"{cores:g} {'core' if cores == 1 else 'cores'}"


def usable_cores() -> float:
    """Cores that this process may use, by its affinity and by the limit of its cgroup."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cgroup_limit()
    return allowed if limit is None else min(allowed, limit)


def cgroup_limit(root: Path = CGROUPS, process: Path = Path("/proc/self/cgroup")) -> float | None:
    """The least CPU quota of this process's cgroup and those above it [cores]; None where there is no limit."""
    limits = []
    with contextlib.suppress(OSError):
        for line in process.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            base = root / controllers if controllers else root
            place = base / path.lstrip("/")
            limits += [_quota(folder) for folder in (place, *place.parents) if folder.is_relative_to(base)]
    return min((limit for limit in limits if limit is not None), default=None)


def _quota(folder: Path) -> float | None:
    """Of one cgroup [cores], as version 2 or version 1 writes it."""
    with contextlib.suppress(OSError, ValueError):
        if (both := folder / "cpu.max").exists():
            quota, period = both.read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(quota) / float(period) if float(quota) > 0 else None  # "max" is no number, -1 no limit
    return None


def bf16() -> Finding:
    flags = {flag for line in _cpuinfo() if line.startswith(("flags", "Features")) for flag in line.split()}
    if not flags:
        return Finding("bf16 on the CPU", "absent", "this system does not tell whether the processor has it")
    if has := sorted(flags & BF16_FLAGS):
        return Finding("bf16 on the CPU", "good", f"the processor has {', '.join(has)}")
    said = "the processor has no products in bf16: they take about 20 times as long as in fp32"
    return Finding("bf16 on the CPU", "warning", said, "on the CPU leave Trainer.precision at 'fp32'")


def compiler() -> Finding:
    """The one that the kernels are compiled with."""
    command = shlex.split(os.environ.get("CC", "cc"))
    program = shutil.which(command[0]) if command else None
    if program is None:
        return Finding("C compiler", "warning", f"no {' '.join(command)!r}", COMPILER_REMEDY)
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, errors="replace", timeout=10)
    if done.returncode:
        said = (done.stderr.splitlines() or [f"it exits with {done.returncode}"])[0]
        return Finding("C compiler", "warning", f"{program} --version: {said}", COMPILER_REMEDY)
    return Finding("C compiler", "good", f"{program}, {(done.stdout.splitlines() or ['no version'])[0]}")


def kernels() -> Finding:
    """Compiled at this call if they never were."""
    if os.environ.get("RNNLAB_NATIVE") == "0":
        said = "off by RNNLAB_NATIVE=0: plain torch, the same results, slower"
        return Finding("CPU kernels", "warning", said, "unset RNNLAB_NATIVE, unless this is meant")
    with contextlib.redirect_stderr(io.StringIO()) as notices:
        found = native.kernels()
    if found is None:
        said = notices.getvalue().partition("(")[2].rpartition(")")[0] or "they could not be had"
        return Finding("CPU kernels", "warning", f"none, plain torch in their place: {said}", COMPILER_REMEDY)
    shared = user_cache("RNNLAB_CACHE")
    if "for this process alone" in notices.getvalue():
        said = f"compiled for this process alone: {shared} cannot be used"
        return Finding("CPU kernels", "warning", said, "set RNNLAB_CACHE to a folder that you may write to")
    place = own_folder(shared)
    if not found._threaded:
        said = f"compiled, in {place}, on one thread: their OpenMP is not torch's"
        return Finding("CPU kernels", "warning", said, "compile them with gcc: CC=gcc")
    return Finding("CPU kernels", "good", f"compiled, in {place}, with torch's threads")


def gloo() -> Finding:
    """A group of one, as ranks on the CPU make it: it needs an address for this machine's name."""
    if not dist.is_available() or not dist.is_gloo_available():
        return Finding("gloo", "absent", "this torch has none: no ranks on the CPU")
    try:
        group = dist.ProcessGroupGloo(dist.HashStore(), 0, 1, timedelta(seconds=5))  # type: ignore[attr-defined]
        group.allreduce([torch.ones(1)]).wait()  # type: ignore[attr-defined]
    except RuntimeError as error:
        said = (str(error).splitlines() or ["it does not start"])[0]
        remedy = "set GLOO_SOCKET_IFNAME to a network interface (lo on one machine), or give the host's name an address"
        return Finding("gloo", "warning", f"ranks on the CPU cannot connect: {said}", remedy)
    return Finding("gloo", "good", "ranks on the CPU can connect")

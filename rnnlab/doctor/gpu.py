"""The GPUs: the driver, the code that this torch has for each card, and the libraries that serve them."""

import ctypes
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist

from rnnlab import config
from rnnlab.devices import BF16_SINCE, Version, code_for, version_of
from rnnlab.doctor import triton_usable
from rnnlab.doctor.finding import Check, Finding

OLDER_BUILD = "install torch's build for CUDA 12.6, whose code begins at sm_50"
NEWER_BUILD = "install a newer torch, or its build for a newer CUDA"


def checks(device: str) -> list[Check]:
    return [partial(chosen, "device", device), driver, cards, cudnn, triton, nccl]


def device_of(name: str) -> torch.device:
    """Where a run with that `Trainer.device` trains. Raises: ConfigError if it is not there."""
    resolved = config.resolve(["sha_rnn", "size/tiny"], [f"Trainer.device = {name!r}"])
    with resolved.activate(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the driver, which has a line of its own
        found: torch.device = resolved.construct("Trainer").torch_device()
    return found


def chosen(name: str, device: str) -> Finding:
    found = device_of(device)
    return Finding(name, "good", f"{device} is {found}" if device != str(found) else device)


def driver() -> Finding:
    """Whether the driver serves the CUDA that this torch is built for."""
    if torch.version.hip:
        return _initialized("ROCm driver", f"serves ROCm {torch.version.hip}")
    found = _fits(torch.version.cuda, driver_cuda(), Path("/proc/driver/nvidia/version").exists())
    return _initialized(found.name, found.detail) if found.verdict == "good" else found


def driver_cuda() -> Version | None:
    """The newest CUDA that the NVIDIA driver serves; None where there is no driver. Starts nothing on a card."""
    number = ctypes.c_int()
    try:
        if ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number)) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return (number.value // 1000, number.value % 1000 // 10) if number.value else None


def _fits(build: str | None, served: Version | None, is_loaded: bool) -> Finding:
    """The finding for torch's CUDA, the driver's, and whether the kernel has NVIDIA's module."""
    name = "NVIDIA driver"
    serves = f"serves CUDA {served[0]}.{served[1]}" if served else ""
    if served is None and is_loaded:
        remedy = "install the driver's libraries, or start the container with the GPUs (--gpus all)"
        return Finding(name, "bad", "the kernel has it, but libcuda.so.1 is not here", remedy)
    if served is None:
        return Finding(name, "absent", "none: runs train on the CPU")
    if build is None:
        remedy = f"install torch's build for CUDA {served[0]}.{served[1]} or older, to train on the GPU"
        return Finding(name, "warning", f"{serves}, but this torch is built for the CPU", remedy)
    if int(build.split(".")[0]) > served[0]:  # within one major version, an older driver serves a newer build
        remedy = f"update the driver, or install torch's build for CUDA {served[0]}.{served[1]} or older"
        return Finding(name, "bad", f"{serves}, and this torch is built for CUDA {build}", remedy)
    return Finding(name, "good", f"{serves}; this torch is built for CUDA {build}")


def _initialized(name: str, told: str) -> Finding:
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        remedy = "see that nvidia-smi lists a card, and CUDA_VISIBLE_DEVICES does not hide it"
        return Finding(name, "bad", f"{told}; it does not start: {str(error).splitlines()[0]}", remedy)
    return Finding(name, "good", told)


def cards() -> Iterator[Finding]:
    count = _count()
    if not count:
        yield Finding("cards", "absent", "torch sees none")
    for index in range(count):
        facts = torch.cuda.get_device_properties(index)
        told = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"
        if torch.version.hip:
            yield Finding(f"cuda:{index}", "good", f"{told}, {facts.gcnArchName}")
            continue
        yield _has_code(f"cuda:{index}", told, torch.cuda.get_arch_list(), (facts.major, facts.minor))
        if (facts.major, facts.minor) < BF16_SINCE:
            said = "bf16 is emulated in fp32 before sm_80"
            yield Finding(f"cuda:{index} bf16", "warning", said, "use Trainer.precision = 'fp16', or 'fp32'")


def _count() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.cuda.device_count()


def _has_code(name: str, told: str, compiled: Sequence[str], card: Version) -> Finding:
    """Whether a build with code for those architectures (sm_80, compute_90, ...) runs on a card."""
    told = f"{told}, sm_{card[0]}{card[1]}"
    if how := code_for(compiled, card):
        return Finding(name, "good", f"{told}, {how}")
    said = f"{told}: this torch has code for {', '.join(compiled)} alone"
    is_older = card < min((version_of(each) for each in compiled), default=card)
    return Finding(name, "bad", said, OLDER_BUILD if is_older else NEWER_BUILD)


def cudnn() -> Finding:
    number = None
    with suppress(RuntimeError):  # another cuDNN than torch was built with
        number = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    if number:
        return Finding("cuDNN", "good", f"{number // 10000}.{number % 10000 // 100}.{number % 100}")
    if not _count():
        return Finding("cuDNN", "absent", "not needed without a GPU")
    return Finding("cuDNN", "warning", "this torch has none: LSTM and GRU are slow", "install torch's own wheel")


def triton() -> Finding:
    """Whether the linear recurrence of QRNN, SRU, minGRU and RG-LRU has its kernel."""
    told = triton_usable.installed()
    if not _count():
        return Finding("Triton", "absent", f"{told or 'none'}; not needed without a GPU")
    if trouble := triton_usable.trouble():
        said = f"{told or 'none'}; {trouble.what}: QRNN, SRU, minGRU and RG-LRU are slow"
        return Finding("Triton", "warning", said, trouble.remedy)
    return Finding("Triton", "good", f"{told}, compiles and runs")


def nccl() -> Finding:
    if not dist.is_available() or not dist.is_nccl_available():
        needed = _count() > 1
        remedy = "install torch's own wheel" if needed else ""
        return Finding("NCCL", "warning" if needed else "absent", "this torch has none: no ranks on GPUs", remedy)
    return Finding("NCCL", "good", ".".join(map(str, torch.cuda.nccl.version())))  # type: ignore[no-untyped-call]

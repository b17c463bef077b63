"""What is said of drivers and cards, from facts of real ones; and of the machine that runs this."""

import pytest
import torch

from rnnlab.doctor import gpu, triton_usable
from rnnlab.doctor.finding import Finding, look
from rnnlab.errors import ConfigError

CU130 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]  # the wheel of torch 2.13 for CUDA 13.0
CU126 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]


def test_a_card_that_is_too_old_for_a_build_is_sent_to_an_older_one() -> None:
    found = gpu._has_code("cuda:0", "Tesla V100, 16 GiB", CU130, (7, 0))
    assert (found.verdict, found.remedy) == ("bad", gpu.OLDER_BUILD)
    assert "Tesla V100, 16 GiB, sm_70: this torch has code for sm_75," in found.detail


def test_a_card_that_is_too_new_for_a_build_is_sent_to_a_newer_one() -> None:
    found = gpu._has_code("cuda:0", "B200, 178 GiB", CU126, (10, 0))
    assert (found.verdict, found.remedy) == ("bad", gpu.NEWER_BUILD)


@pytest.mark.parametrize(
    ("build", "served", "is_loaded", "verdict", "remedy"),
    [
        ("13.0", (13, 0), True, "good", ""),
        ("13.0", (13, 1), True, "good", ""),
        ("12.8", (12, 2), True, "good", ""),  # minor versions are compatible
        ("12.6", (13, 0), True, "good", ""),
        ("13.0", (12, 4), True, "bad", "update the driver, or install torch's build for CUDA 12.4 or older"),
        (None, (12, 4), True, "warning", "install torch's build for CUDA 12.4 or older, to train on the GPU"),
        (
            "13.0",
            None,
            True,
            "bad",
            "install the driver's libraries, or start the container with the GPUs (--gpus all)",
        ),
        ("13.0", None, False, "absent", ""),
        (None, None, False, "absent", ""),
    ],
)
def test_the_driver_is_compared_with_the_build(
    build: str | None, served: tuple[int, int] | None, is_loaded: bool, verdict: str, remedy: str
) -> None:
    found = gpu._fits(build, served, is_loaded)
    assert (found.verdict, found.remedy) == (verdict, remedy)


def test_a_device_that_is_not_there_is_a_bad_line_with_a_remedy() -> None:
    check, *_ = gpu.checks("cuda:99")
    (found,) = look(check)
    assert (found.name, found.verdict) == ("device", "bad")
    assert found.remedy or "from cuda:0" in found.detail


def test_a_device_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"use 'auto', 'cpu', 'cuda'"):
        gpu.device_of("tpu")
    assert gpu.device_of("cpu") == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_of_it_is_to_do() -> None:
    checks = gpu.checks("auto")
    found = [finding for check in checks for finding in look(check)]
    assert [finding.name for finding in found] == ["device", "NVIDIA driver", "cards", "cuDNN", "Triton", "NCCL"]
    assert not [finding for finding in found if finding.is_to_do]
    assert gpu.driver_cuda() is None


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_that_works_every_line_is_good() -> None:
    found = {finding.name: finding for check in gpu.checks("auto") for finding in look(check)}
    for name in ("device", "NVIDIA driver", "cuda:0", "cuDNN", "Triton"):
        assert found[name].verdict == "good", found[name]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_triton_whose_kernel_does_not_run_is_no_use() -> None:
    """As here: it is installed perhaps, and has no driver."""
    trouble = triton_usable.trouble()
    assert trouble is not None
    assert trouble.what
    assert trouble.remedy


def test_triton_without_a_compiler_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CC", raising=False)
    trouble = triton_usable.trouble()
    assert trouble is not None
    assert trouble.what == "there is no C compiler"


def test_triton_without_pythons_headers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"include": "/nonexistent"})
    trouble = triton_usable.trouble()
    assert trouble is not None
    assert trouble.what == "Python.h is not here"


def test_nccl_has_a_line_of_its_own() -> None:
    assert isinstance(gpu.nccl(), Finding)

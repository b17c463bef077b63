"""The lines of the CPU, with compilers, limits and kernels as they are met."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rnnlab.doctor import processor
from rnnlab.doctor.finding import look
from rnnlab.ops import native


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, and no memory of kernels already loaded."""
    monkeypatch.setenv("RNNLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RNNLAB_NATIVE", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(native, "FLAGS", ["-O0" if flag == "-O3" else flag for flag in native.FLAGS])  # builds sooner
    native.kernels.cache_clear()
    yield tmp_path / "cache"
    native.kernels.cache_clear()


def script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_more_threads_than_cores_is_a_warning() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)) + 1)
    try:
        found = processor.threads()
    finally:
        torch.set_num_threads(before)
    assert found.verdict == "warning"
    assert found.remedy.startswith("OMP_NUM_THREADS=")


@pytest.mark.long
@pytest.mark.skipif(shutil.which("taskset") is None, reason="there is no taskset")
def test_a_process_that_may_use_one_core_is_told_so() -> None:
    code = "from rnnlab.doctor import processor; print(processor.usable_cores(), processor.threads().detail)"
    one = str(min(os.sched_getaffinity(0)))
    command = ["taskset", "-c", one, sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("1 1 of torch, 1 core usable of ")


@pytest.mark.parametrize(
    ("files", "own", "cores"),
    [
        ({"a/b/cpu.max": "150000 100000\n", "cpu.max": "max 100000\n"}, "0::/a/b\n", 1.5),
        ({"a/b/cpu.max": "max 100000\n", "a/cpu.max": "50000 100000\n"}, "0::/a/b\n", 0.5),  # of the cgroup above
        ({"a/cpu.max": "max 100000\n"}, "0::/a\n", None),
        ({"cpu/a/cpu.cfs_quota_us": "400000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, "1:cpu:/a\n0::/\n", 4.0),
        ({"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, "1:cpu:/a\n", None),
        ({}, "", None),
    ],
)
def test_the_limit_of_a_cgroup_is_read_in_both_versions(
    tmp_path: Path, files: dict[str, str], own: str, cores: float | None
) -> None:
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "own").write_text(own)
    assert processor.cgroup_limit(tmp_path / "cgroup", tmp_path / "own") == cores


def test_no_cgroups_are_no_limit(tmp_path: Path) -> None:
    assert processor.cgroup_limit(tmp_path, tmp_path / "missing") is None


@pytest.mark.parametrize(("flag", "verdict"), [("avx512_bf16", "good"), ("amx_bf16", "good"), ("avx2", "warning")])
def test_bf16_follows_the_instructions_of_the_processor(
    monkeypatch: pytest.MonkeyPatch, flag: str, verdict: str
) -> None:
    monkeypatch.setattr(processor, "_cpuinfo", lambda: [f"flags\t\t: fpu vme {flag} sse2"])
    assert processor.bf16().verdict == verdict


def test_a_compiler_that_is_not_there_is_a_warning(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert processor.compiler().verdict == "warning"
    assert processor.compiler().detail == "no 'cc'"
    found = processor.kernels()
    assert found.verdict == "warning"
    assert "no C compiler 'cc'" in found.detail
    assert "apt install gcc" in found.remedy


def test_a_compiler_that_fails_is_quoted(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", script(tmp_path / "my-cc", 'echo "no license" >&2; exit 1'))
    assert "no license" in processor.compiler().detail
    assert "no license" in processor.kernels().detail


def test_kernels_that_are_turned_off_are_told_with_how_to_turn_them_on(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNLAB_NATIVE", "0")
    found = processor.kernels()
    assert found.verdict == "warning"
    assert "RNNLAB_NATIVE=0" in found.detail
    assert not cache.exists()


def test_kernels_that_have_to_be_there_and_are_not_are_bad(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNLAB_NATIVE", "1")
    monkeypatch.setenv("PATH", "/nonexistent")
    (found,) = look(processor.kernels)
    assert found.verdict == "bad"
    assert "RNNLAB_NATIVE=1, but there are no CPU kernels" in found.detail


@pytest.mark.slow
def test_kernels_are_compiled_and_share_torchs_threads(cache: Path) -> None:
    if processor.compiler().verdict != "good":
        pytest.skip("there is no C compiler")
    found = processor.kernels()
    assert (found.verdict, found.detail) == ("good", f"compiled, in {cache}, with torch's threads")


@pytest.mark.slow
def test_kernels_of_a_cache_that_cannot_be_used_are_for_one_process(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if processor.compiler().verdict != "good":
        pytest.skip("there is no C compiler")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RNNLAB_CACHE", str(tmp_path / "file" / "cache"))
    (found,) = look(processor.kernels)
    assert found.verdict == "warning"
    assert "for this process alone" in found.detail
    assert "RNNLAB_CACHE" in found.remedy


def test_ranks_on_the_cpu_can_connect_or_the_line_says_how() -> None:
    found = processor.gloo()
    assert found.verdict == "good" or found.remedy


def test_gloo_without_an_interface_says_which_variable_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "no-such-interface")
    found = processor.gloo()
    assert found.verdict == "warning"
    assert "GLOO_SOCKET_IFNAME" in found.remedy

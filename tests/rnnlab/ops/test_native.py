import os
import platform
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rnnlab.errors import ConfigError
from rnnlab.ops import native
from tests.sampled import sampled

SCAN = """
import torch
def scan(kernels):
    a, h = torch.full((3, 2), 0.5), torch.empty(3, 2)
    kernels.run("recurrence_forward", a, torch.ones(3, 2), torch.zeros(2), h, 3, 2)
    return h[:, 0].tolist()
"""
SCANNED = [1.0, 1.5, 1.75]


def scan(kernels: native.Kernels) -> list[float]:
    names: dict[str, object] = {}
    exec(SCAN, names)
    return names["scan"](kernels)  # type: ignore[operator,no-any-return]


needs_compiler = pytest.mark.skipif(
    subprocess.run(["sh", "-c", "command -v cc"], capture_output=True).returncode != 0, reason="there is no C compiler"
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, and no memory of kernels already loaded."""
    monkeypatch.setenv("RNNLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RNNLAB_NATIVE", raising=False)
    monkeypatch.delenv("RNNLAB_MARCH", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(native, "FLAGS", ["-O0" if flag == "-O3" else flag for flag in native.FLAGS])  # builds sooner
    native.kernels.cache_clear()
    yield tmp_path / "cache"
    native.kernels.cache_clear()


def again() -> native.Kernels | None:
    native.kernels.cache_clear()
    return native.kernels()


def compiler(folder: Path, script: str) -> str:
    """A compiler that is a shell script."""
    path = folder / "my-cc"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@needs_compiler
@pytest.mark.slow
def test_the_kernels_are_compiled_once_and_said_once(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = native.kernels()
    assert first is not None
    assert scan(first) == SCANNED
    assert capsys.readouterr().err == f"rnnlab: compiling its CPU kernels (once) into {cache}\n"
    second = again()
    assert second is not None
    assert scan(second) == SCANNED
    assert capsys.readouterr().err == ""
    assert len(list(cache.glob("*.so"))) == 1


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("damage", sampled(["truncated", "emptied", "a flipped bit"], ("a flipped bit",)))
def test_a_damaged_library_is_rebuilt_and_never_opened(cache: Path, damage: str) -> None:
    native.kernels()
    (library,) = cache.glob("*.so")
    content = library.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    library.unlink()  # a new file: the old one is still open in this process
    library.write_bytes({"truncated": content[:middle], "emptied": b"", "a flipped bit": flipped}[damage])
    rebuilt = again()
    assert rebuilt is not None
    assert scan(rebuilt) == SCANNED
    assert [path.read_bytes() for path in cache.glob("*.so")] == [content]


@needs_compiler
@pytest.mark.long
def test_other_flags_make_another_library(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native.kernels()
    monkeypatch.setattr(native, "FLAGS", ["-O1" if flag == "-O0" else flag for flag in native.FLAGS])
    assert again() is not None
    assert len(list(cache.glob("*.so"))) == 2


@needs_compiler
@pytest.mark.long
def test_another_processor_makes_another_library(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native.kernels()
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("the name is of an x86 processor")
    monkeypatch.setenv("RNNLAB_MARCH", "x86-64-v2")
    kernels = again()
    assert kernels is not None
    assert scan(kernels) == SCANNED
    assert len(list(cache.glob("*.so"))) == 2


@pytest.mark.parametrize("march", ["a b", "native;ls", "-O0 "])
def test_a_processor_that_can_be_none_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch, march: str) -> None:
    monkeypatch.setenv("RNNLAB_MARCH", march)
    with pytest.raises(ConfigError, match="RNNLAB_MARCH="):
        native.kernels()


def test_without_a_compiler_one_line_is_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert native.kernels() is None
    assert native.kernels() is None
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "no C compiler 'no-such-compiler'" in message


def test_a_compiler_that_fails_is_quoted_in_one_line(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = 'case "$1" in --version) echo some compiler;; *) echo "native.c:1: error: out of luck" >&2; exit 1;; esac'
    monkeypatch.setenv("CC", shlex.quote(compiler(tmp_path, broken)))
    assert native.kernels() is None
    assert "failed: native.c:1: error: out of luck" in capsys.readouterr().err
    assert list(cache.glob("*.so")) == list(cache.glob(".native-*")) == []


def test_what_a_compiler_writes_is_not_trusted_to_be_a_library(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    idle = 'case "$1" in --version) echo some compiler;; esac'
    monkeypatch.setenv("CC", compiler(tmp_path, idle))
    assert native.kernels() is None
    assert "the compiled library does not open" in capsys.readouterr().err


@needs_compiler
@pytest.mark.slow
def test_a_compiler_other_than_gcc_builds_without_threads(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = 'case "$*" in --version) echo another compiler;; *-fopenmp*) exit 1;; *) exec cc "$@";; esac'
    monkeypatch.setenv("CC", compiler(tmp_path, other))
    kernels = native.kernels()
    assert kernels is not None
    assert scan(kernels) == SCANNED


def test_zero_turns_the_kernels_off(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RNNLAB_NATIVE", "0")
    assert native.kernels() is None
    assert capsys.readouterr().err == ""
    assert not cache.exists()


def test_one_makes_their_absence_an_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNLAB_NATIVE", "1")
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(ConfigError, match="RNNLAB_NATIVE=1, but there are no CPU kernels: no C compiler"):
        native.kernels()


def test_another_value_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNLAB_NATIVE", "yes")
    with pytest.raises(ConfigError, match="RNNLAB_NATIVE='yes'"):
        native.kernels()


@needs_compiler
@pytest.mark.slow
def test_a_cache_that_cannot_be_written_costs_a_compilation_and_no_more(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache.write_text("a file where the folder should be")
    kernels = native.kernels()
    assert kernels is not None
    assert scan(kernels) == SCANNED
    assert "compiling for this process alone" in capsys.readouterr().err


@pytest.mark.long
@needs_compiler
def test_sixteen_processes_that_start_at_once_share_one_compilation(cache: Path) -> None:
    script = textwrap.dedent("""
        import os, sys
        from rnnlab.ops import native
        ready, start = os.pipe()
        children = []
        for _ in range(16):
            child = os.fork()
            if child == 0:
                os.close(start)
                os.read(ready, 1)  # returns when the parent closes its end: all start together
                kernels = native.kernels()
                os._exit(0 if kernels is not None and scan(kernels) == [1.0, 1.5, 1.75] else 1)
            children.append(child)
        os.close(start)
        sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
    """)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCAN + script], env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, f"{done.returncode} of 16 processes failed: {done.stderr}"
    assert done.stderr.count("compiling") == 1
    assert len(list(cache.glob("*.so"))) == 1
    assert list(cache.glob(".native-*")) == []


@pytest.mark.slow
@needs_compiler
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="loaded libraries cannot be seen here")
def test_the_process_has_one_openmp_runtime() -> None:
    script = (
        "from rnnlab.ops import native; k = native.kernels(); print(scan(k), *native._openmp_runtimes(), sep='\\n')"
    )
    environment = {**os.environ, "RNNLAB_NATIVE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCAN + script], env=environment, capture_output=True, text=True, timeout=200
    )
    scanned, *runtimes = done.stdout.splitlines()
    assert scanned == str(SCANNED), done.stderr
    assert len(runtimes) == 1


@needs_compiler
@pytest.mark.slow
def test_a_tensor_the_kernels_cannot_read_is_refused(cache: Path) -> None:
    kernels = native.kernels()
    assert kernels is not None
    strided = torch.empty(2, 3).t()
    with pytest.raises(AssertionError, match="recurrence_forward"):
        kernels.run("recurrence_forward", strided, strided, torch.zeros(2), strided, 3, 2)


def test_a_tensor_of_another_dtype_than_the_kernels_is_refused() -> None:
    """The kernel would read and write beyond its end."""
    compiled = native.kernels()
    if compiled is None:
        pytest.skip("there are no kernels here")
    gates, h = torch.zeros(2, 32), torch.zeros(2, 8)
    bias, u, c = torch.zeros(32), torch.zeros(32, 8), torch.zeros(2, 8, dtype=torch.float16)
    y, cells = torch.zeros(2, 1, 2, 8).unbind()
    with pytest.raises(TypeError, match=r"lstm_forward was given c0 in torch\.float16"):
        compiled.run("lstm_forward", gates, bias, u, h, c, y, cells, native.packed_room(u), 1, 2, 8, 0)

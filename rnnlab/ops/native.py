"""The compiled CPU kernels: C sources, built once by the system's compiler, called through ctypes.

    compiled = native.kernels()                    # None where there is no compiler
    if compiled: compiled.run("recurrence_forward", a, b, h0, h, steps, channels)

`RNNLAB_NATIVE=0` turns the kernels off, `RNNLAB_NATIVE=1` makes it an error that they cannot be had; left out, rnnlab
says so in one line and goes on in plain torch. `RNNLAB_MARCH` names another processor to compile for than this one, as
the compiler's -march does: `x86-64-v3`. The library lies in `RNNLAB_CACHE`, else in the user's cache folder, under a
name made of what it was built from and of the hash of its bytes, so that a damaged one is rebuilt. Opening a library
runs code of it, so that one that others could have put there is passed over (rnnlab.cache).
"""

import ctypes
import functools
import hashlib
import math
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import torch  # before the kernels: they then share the OpenMP runtime that torch has loaded
from torch import Tensor

from rnnlab.cache import open_own, own_folder, user_cache
from rnnlab.console import say
from rnnlab.errors import ConfigError
from rnnlab.locks import locked

KERNELS = Path(__file__).with_name("kernels")
# -ffast-math is left out on purpose: it lets the compiler assume that there are no NaNs.
FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-std=c11", "-ffp-contract=fast", "-fPIC", "-shared"]
OPENMP = "-fopenmp"
PACKED_TO = 32  # the recurrent kernels pad the width to a multiple of this

_TYPES: tuple[type, ...] = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_double, ctypes.c_float)
SIGNATURES = {
    "recurrence_forward": "a b h0 h; steps channels",
    "recurrence_backward": "a h h0 grad_h grad_a grad_b grad_h0; steps channels",
    "dropout_apply": "x? y?; outer batch inner half key first threshold; ; scale",
    "boom_forward": "u? bias y; steps batch F D half key first threshold; ; scale",
    "boom_backward": "u? bias grad_y grad_u?; steps batch F D half key first threshold; ; scale",
    "boom_step": "x w bias y; rows F D",
    "lstm_forward": "gates bias u h0 c0 y c packed; steps batch D half",
    "lstm_backward": "gates u c0 c grad_y grad_gates grad_h grad_c packed; steps batch D half",
    "lstm_step": "x w u w_bias u_bias h c y c_out; batch D",
    "gru_forward": "gates bias u h0 inner y packed; steps batch D half",
    "gru_backward": "gates u h0 inner y grad_y grad_x grad_u grad_h packed; steps batch D half",
    "gru_step": "x w u w_bias u_bias h y; batch D",
    "qrnn_forward": "gates bias c0 y c; steps batch D; ; keep",
    "qrnn_backward": "gates c0 c grad_y grad_gates grad_c; steps batch D; ; keep",
    "sru_forward": "projected x v c0 gates y c; steps batch D; ; alpha",
    "sru_backward": "projected x v c0 gates c grad_y grad_projected grad_x grad_v grad_c; steps batch D; ; alpha",
    "min_gru_forward": "projected h0 z h; steps batch D",
    "min_gru_backward": "projected h0 z h grad_h grad_projected grad_h0; steps batch D",
    "rg_lru_forward": "projected x k h0 gates h; steps batch D",
    "rg_lru_backward": "x k h0 gates h grad_h grad_projected grad_x grad_k grad_h0; steps batch D; ; steepest",
    "attend_forward": "scores? dropped? room; queries n query key_from steps before window half head sequence "
    "key first threshold; ; scale",
    "attend_backward": "weights? gradient? dropped_own? room; own_from queries n query key_from steps before half head "
    "sequence key first threshold; ; scale",
    "attend_step": "q keys y room; n batch heads width",
    "lamb_moments": "p g m v lengths:float64 measured:bool; count row; beta1 beta2; eps decay",
    "lamb_step": "p m v; count; ; eps decay rate",
}
"""What `run` is given, in order: pointers; counts; doubles; floats. The number of threads follows by itself.

Tensors are float32 unless another dtype is named; one with a question mark may be bfloat16 as well.
"""


class Kernels:
    """The functions of one compiled library."""

    def __init__(self, library: ctypes.CDLL, threaded: bool, identity: str) -> None:
        """Args: identity: hash of the library's bytes; where it is the same, the kernels compute the same."""
        self._threaded, self.identity = threaded, identity
        self._functions, self._dtypes = {}, {}
        for name, arguments in SIGNATURES.items():
            function = self._functions[name] = library[name]
            self._dtypes[name] = [_dtypes(pointer) for pointer in arguments.partition(";")[0].split()]
            groups = zip(_TYPES, arguments.split(";"), strict=False)
            types = [each for each, names in groups for _ in names.split()]
            function.argtypes, function.restype = [*types, ctypes.c_int], None

    def run(self, name: str, *arguments: Tensor | int | float) -> None:
        """Call a kernel with torch's number of threads; tensors are contiguous, on the CPU, and written in place.

        Raises: TypeError for a tensor of another dtype than the kernel's: it would read and write beyond its end.
        """
        values: list[int | float] = []
        dtypes = self._dtypes[name]
        for place, argument in enumerate(arguments):
            if isinstance(argument, Tensor):
                assert argument.is_cpu, name
                assert argument.is_contiguous(), name
                if argument.dtype not in dtypes[place]:
                    pointer = SIGNATURES[name].split()[place].rstrip(";?")
                    raise TypeError(f"{name} was given {pointer} in {argument.dtype}, and it is not made for that")
                values.append(argument.data_ptr())
            else:
                values.append(argument)
        threads = torch.get_num_threads() if self._threaded else 1
        self._functions[name](*values, threads)


def _dtypes(pointer: str) -> tuple[torch.dtype, ...]:
    """In which a kernel takes what is written so in its signature."""
    named = pointer.partition(":")[2]
    if named:
        return (getattr(torch, named),)
    return (torch.float32, torch.bfloat16) if pointer.endswith("?") else (torch.float32,)


class _Unavailable(Exception):
    """Why there are no kernels, in a few words."""


@functools.cache
def kernels() -> Kernels | None:
    """The kernels, compiled at the first call if need be; None where they are off or cannot be had.

    Raises: ConfigError if RNNLAB_NATIVE=1 and they cannot be had, or if it is something else than 0 or 1.
    """
    wish = os.environ.get("RNNLAB_NATIVE", "")
    if wish not in ("", "0", "1"):
        raise ConfigError(f"RNNLAB_NATIVE={wish!r}: 0 turns the CPU kernels off, 1 makes their absence an error")
    if wish == "0":
        return None
    try:
        return _load()
    except _Unavailable as reason:
        if wish == "1":
            raise ConfigError(f"RNNLAB_NATIVE=1, but there are no CPU kernels: {reason}") from reason
        say(f"no CPU kernels ({reason}); going on in plain torch, with the same results; RNNLAB_NATIVE=0 hushes this")
        return None


def serves(x: Tensor, products: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16)) -> bool:
    """Whether the kernels can work on x: on the CPU, uncompiled, and multiplied in one of those dtypes."""
    usable = x.device.type == "cpu" and product_dtype(x) in products
    return usable and not torch.compiler.is_compiling() and kernels() is not None


def product_dtype(x: Tensor) -> torch.dtype:
    """In what torch would multiply x: autocast's dtype where it is on."""
    lowered = autocast_dtype(x.device.type)
    return x.dtype if lowered is None or x.dtype.itemsize > 4 else lowered


def autocast_dtype(device: str) -> torch.dtype | None:
    """In what autocast computes products on this type of device; None where it is off, or not known."""
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return None


def packed_room(u: Tensor) -> Tensor:
    """Where the recurrent kernels put hidden-to-hidden weights (gates D, D) in the order they read them."""
    rows, dim = u.shape
    return u.new_empty(rows * (-(-dim // PACKED_TO) * PACKED_TO))


def run(name: str, *arguments: Tensor | int | float) -> None:
    """Call a kernel where it is known that there are some."""
    compiled = kernels()
    assert compiled is not None, f"{name} was asked for where there are no kernels"
    compiled.run(name, *arguments)


def _load() -> Kernels:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    program = shutil.which(compiler[0]) if compiler else None
    if program is None:
        raise _Unavailable(f"no C compiler {' '.join(compiler)!r}")
    key = _key(compiler, program)
    try:
        shared = user_cache("RNNLAB_CACHE")
        folder = own_folder(shared)
        if library := _find(folder, key):  # before the lock, which takes a folder that can be written to
            return _open(library)
        why = "" if folder == shared else f"; others can write to {shared}"
        with locked(folder / f"{key}.lock", patience=math.inf):  # of several processes that start at once, one compiles
            return _open(_find(folder, key) or open_own(_compile(compiler, folder, key, why)))
    except OSError as error:
        with tempfile.TemporaryDirectory(prefix="rnnlab-") as private:  # a library outlives its file once it is open
            say(f"the cache folder cannot be used ({error}); compiling for this process alone")
            return _open(open(_compile(compiler, Path(private), key), "rb"))


def _march() -> str:
    """Raises: ConfigError if it can be no name of a processor."""
    march = os.environ.get("RNNLAB_MARCH") or "native"
    if not re.fullmatch(r"[\w.+-]+", march):
        raise ConfigError(f"RNNLAB_MARCH={march!r}: a processor as the compiler's -march takes it, such as x86-64-v3")
    return march


def _key(compiler: list[str], program: str) -> str:
    """What the library depends on. The compiler counts by its file, which costs no process at every start."""
    file = os.stat(program)
    built_from = [
        *(f"{path.name}\n{path.read_text()}" for path in sorted(KERNELS.iterdir())),
        *(*FLAGS, f"-march={_march()}", OPENMP, *compiler),
        *(os.path.realpath(program), file.st_size, file.st_mtime_ns, _processor()),
    ]
    return hashlib.sha256("\0".join(map(str, built_from)).encode()).hexdigest()[:16]


def _processor() -> str:
    """What -march=native looks at: a cache folder may be shared by unlike machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    told = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(told)}))


def _find(folder: Path, key: str) -> BinaryIO | None:
    """A library built from the same things, ours and whole: opening one that was cut short can kill the process."""
    for path in folder.glob(f"{key}-*.so"):
        with suppress(OSError):
            library = open_own(path)
            if path.name == _name(key, library.read()):
                library.seek(0)
                return library
            library.close()
    return None


def _name(key: str, content: bytes) -> str:
    return f"{key}-{hashlib.sha256(content).hexdigest()[:16]}.so"


def _compile(compiler: list[str], folder: Path, key: str, why: str = "") -> Path:
    """Build under a name of its own, then rename: whoever looks sees a whole library or none.

    The caller holds the lock: what `_find` passed over is removed.
    """
    say(f"compiling its CPU kernels (once) into {folder}{why}")
    handle, staged = tempfile.mkstemp(prefix=".native-", suffix=".so", dir=folder)
    os.close(handle)
    try:
        # only gcc's OpenMP is torch's; another compiler's would put a second runtime in the process
        openmp = [OPENMP] if "Free Software Foundation" in _execute([*compiler, "--version"]) else []
        flags = [*FLAGS, f"-march={_march()}", *openmp]
        _execute([*compiler, *flags, *map(str, sorted(KERNELS.glob("*.c"))), "-o", staged, "-lm"])
        library = folder / _name(key, Path(staged).read_bytes())
        with open(staged, "rb") as file:
            os.fsync(file.fileno())
        for refused in folder.glob(f"{key}-*.so"):
            refused.unlink(missing_ok=True)
        os.replace(staged, library)
        return library
    finally:
        Path(staged).unlink(missing_ok=True)


def _execute(command: list[str]) -> str:
    try:
        # umask: at no moment can others write to what it makes
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300, umask=0o022)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _Unavailable(f"{command[0]} did not run: {error}") from error
    if done.returncode:
        lines = done.stderr.splitlines() or ["no message"]
        telling = next((line for line in lines if "error" in line), lines[0])
        raise _Unavailable(f"{command[0]} failed: {telling.strip()}")
    return done.stdout


def _open(library: BinaryIO) -> Kernels:
    """Load what was checked, whatever its name stands for by now; where there is no /proc, the name has to do."""
    before = _openmp_runtimes()
    with library:
        identity = hashlib.sha256(library.read()).hexdigest()[:16]
        # never closed: the loader takes two libraries for one if they have the same number
        checked = f"/proc/self/fd/{os.dup(library.fileno())}"
        try:
            opened = ctypes.CDLL(checked if os.path.exists(checked) else library.name)
        except OSError as error:
            raise _Unavailable(f"the compiled library does not open: {error}") from error
    # Threads of two runtimes would compete for the same cores: if ours is not torch's, it stays at one.
    return Kernels(opened, threaded=not (before and _openmp_runtimes() - before), identity=identity)


def _openmp_runtimes() -> set[str]:
    """Files of the OpenMP runtimes that this process has loaded; empty where that cannot be seen."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return set()
    return {line.split()[-1] for line in maps.splitlines() if re.search(r"/lib(g|i)?omp\d?[-.\w]*\.so", line)}

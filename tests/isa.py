"""The tests that compare numbers, as several processors would compute them: `python -m tests.isa [NAME...]`.

A line a configuration, with what torch and the kernels made of it. What a configuration cannot be had for, it says.
--without NAME leaves one out.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import PLACES

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATIONS = {
    "as it is": {},
    "ATEN_CPU_CAPABILITY=default": {"ATEN_CPU_CAPABILITY": "default"},
    "ATEN_CPU_CAPABILITY=avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "ONEDNN_MAX_CPU_ISA=AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2"},
    "kernels for x86-64-v2": {"RNNLAB_MARCH": "x86-64-v2"},
    "two threads": {"OMP_NUM_THREADS": "2"},
    "an old processor, two threads": {
        "ATEN_CPU_CAPABILITY": "default",
        "RNNLAB_MARCH": "x86-64-v2",
        "OMP_NUM_THREADS": "2",
    },
    "RNNLAB_NATIVE=0": {"RNNLAB_NATIVE": "0"},
}
"""Environment of each; "as it is" has the kernels compiled for this processor, and one thread."""

COMMON = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "RNNLAB_NATIVE": "1"}  # two workers share the cores
ONLY_X86 = ("ATEN", "ONEDNN", "kernels for x86", "an old processor")
DOWN_TO_AVX2 = ("ATEN_CPU_CAPABILITY=avx2", "ONEDNN_MAX_CPU_ISA=AVX2")  # on a processor without more: as it is
LIMIT = 90.0  # [s] a configuration should take on two idle cores
SEEN = """
import json, torch
from rnnlab.ops import native
compiled = native.kernels()
print(json.dumps({"torch": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads(),
                  "kernels": None if compiled is None else native._march()}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.isa", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(CONFIGURATIONS)} (default: all)")
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="leave it out")
    options = parser.parse_args()
    if unknown := [name for name in (*options.names, *options.without) if name not in CONFIGURATIONS]:
        parser.error(f"no configuration {unknown[0]!r}; there are {', '.join(CONFIGURATIONS)}")
    names = [name for name in options.names or CONFIGURATIONS if name not in options.without]
    print(f"{processor()}, {platform.machine()}", flush=True)
    failed = [name for name in names if not passes(name)]
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed: configurations", flush=True)
    return 1 if failed else 0


def passes(name: str) -> bool:
    """Run one and print its line; the whole output as well, if a test failed."""
    if name.startswith(ONLY_X86) and platform.machine() not in ("x86_64", "AMD64"):
        print(f"skipped  {name}: a {platform.machine()} processor has no such instructions", flush=True)
        return True
    if name in DOWN_TO_AVX2 and not has_avx512():
        print(f"skipped  {name}: this processor has no AVX-512 to leave out, so that is as it is", flush=True)
        return True
    environment = {**os.environ, **COMMON, **CONFIGURATIONS[name]}
    started = time.monotonic()
    probe = subprocess.run([sys.executable, "-c", SEEN], cwd=ROOT, env=environment, capture_output=True, text=True)
    if probe.returncode:
        print(f"FAILED   {name}: {probe.stderr.strip().splitlines()[-1]}", flush=True)
        return False
    seen = json.loads(probe.stdout)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", "-p", "no:cacheprovider"]
    command += ["-m", "numbers and not long", *(str(ROOT / "tests" / place) for place in PLACES)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    seconds = time.monotonic() - started
    counts = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", done.stdout.splitlines()[-1] if done.stdout else "")
    kernels = "no kernels" if seen["kernels"] is None else f"kernels {seen['kernels']}"
    threads = f"{seen['threads']} thread" + "s" * (seen["threads"] != 1)
    slow = f", over {LIMIT:.0f} s" if seconds > LIMIT else ""
    word = "FAILED " if done.returncode else "ok     "
    told = f"{', '.join(counts)} in {seconds:.0f} s{slow}"
    print(f"{word}  {name}: torch {seen['torch']}, {kernels}, {threads}: {told}", flush=True)
    if done.returncode:
        print(done.stdout + done.stderr, flush=True)
    return not done.returncode


def processor() -> str:
    names = [*cpuinfo("model name"), *cpuinfo("CPU part")]
    return names[0] if names else platform.processor() or "unknown processor"


def has_avx512() -> bool:
    """Where nobody says, it may have."""
    flags = cpuinfo("flags")
    return not flags or "avx512f" in flags[0].split()


def cpuinfo(field: str) -> list[str]:
    """What the system says in this field of each processor; nothing where it does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return [line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field]


if __name__ == "__main__":
    sys.exit(main())

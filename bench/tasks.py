"""What the table is made of: each task measures one thing in a process of its own and answers in plain numbers.

Seconds are the clock's, or with `cpu_time` the process's own on one thread, for a machine that others use.
"""

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import plain
from bench.wavefront import Wavefront
from rnnlab import config
from rnnlab.data.corpora import open_corpus
from rnnlab.data.splits import Batches
from rnnlab.generation import generate
from rnnlab.ops.recurrence import linear_recurrence
from rnnlab.speed import bench
from rnnlab.training.experiment import build
from rnnlab.training.learner import Learner, peak_memory_mb

Answer = dict[str, Any]

BATCH_SIZE = {"small": 8, "paper": 2}
"""B on the CPU; on a GPU the paper's size keeps its own 16 sequences of 1,024."""

WAYS = {"torch.compile": ["Trainer.compile = True"], "CUDA graph": ["Trainer.cuda_graph = True"], "wavefront": []}
"""How a step can be launched otherwise, and what asks for it."""


@dataclass(frozen=True)
class Settings:
    """How everything is measured."""

    device: str = "cpu"
    cpu_time: bool = False
    repeats: int = 7  # steps of each contender at size small; the paper's size takes fewer

    @property
    def clock(self) -> bench.Clock:
        return bench.clock_of(torch.device(self.device), self.cpu_time)

    def turns(self, size: str) -> int:
        return self.repeats if size == "small" or self.device != "cpu" else max(1, self.repeats // 2)

    def learner(self, size: str, *bindings: str, core: str = "lstm", precision: str = "fp32") -> Learner:
        """The paper's model and recipe at a size, with its memory full."""
        if self.cpu_time:
            torch.set_num_threads(1)
        fragments = ["sha_rnn", f"size/{size}", "train/paper", f"core/{core}"]
        shape = [f"Trainer.batch_size = {BATCH_SIZE[size]}", "paper_bptt = 256", "memory = 1024"]
        if self.device != "cpu" and size == "paper":
            shape = []
        fixed = [f"Trainer.device = {self.device!r}", f"Trainer.precision = {precision!r}"]
        return bench.steady_learner(fragments, [*fixed, *shape, *bindings])


def training(settings: Settings, size: str, precision: str, *bindings: str) -> Answer:
    """Bytes a second and the ratio to the plain baseline, which computes in fp32 on the CPU."""
    learner = settings.learner(size, *bindings, precision=precision)
    contenders = bench.against_baseline(learner, plain)
    seconds = bench.alternate(contenders, settings.turns(size), settings.clock)
    read = bench.bytes_of_step(learner)
    return {
        "bytes_per_second": vars(bench.Spread.of([read / s for s in seconds["ours"]])),
        "plain_bytes_per_second": vars(bench.Spread.of([read / s for s in seconds["plain"]])),
        "ratio": vars(bench.ratio(seconds["plain"], seconds["ours"])),
    }


def launching(settings: Settings, size: str, precision: str, way: str) -> Answer:
    """How many times as long a step takes as launched operation by operation, one after the other, as by `way`."""
    eager = settings.learner(size, precision=precision)
    other = settings.learner(size, *WAYS[way], precision=precision)
    if way == "wavefront":
        other.model.through_blocks = Wavefront(other.model, pieces=4)  # type: ignore[method-assign]
    for _ in range(3):  # compiled or recorded by then
        other.step()
    seconds = bench.alternate({"eager": eager.step, way: other.step}, settings.turns(size), settings.clock)
    return {"ratio": vars(bench.ratio(seconds["eager"], seconds[way]))}


def profile(settings: Settings, size: str, precision: str) -> Answer:
    """Where a step's time goes."""
    learner = settings.learner(size, precision=precision)
    parts = bench.split(learner, settings.clock, settings.turns(size))
    return {label: spread.median for label, spread in parts.items()}


def memory_growth(settings: Settings, size: str, precision: str) -> Answer:
    """How many times as long a step takes at 5,000 positions as at one, without dropout."""
    learners = {
        positions: settings.learner(size, "dropout = 0.0", f"memory = {positions}", precision=precision)
        for positions in (1, 5000)
    }
    steps: dict[str, Callable[[], object]] = {str(positions): learner.step for positions, learner in learners.items()}
    seconds = bench.alternate(steps, settings.turns(size), settings.clock)
    return {"ratio": vars(bench.ratio(seconds["5000"], seconds["1"]))}


def memory_point(settings: Settings, size: str, positions: int) -> Answer:
    """Seconds of a step and the most memory held, at one length."""
    learner = settings.learner(size, "dropout = 0.0", f"memory = {positions}")
    seconds = bench.alternate({"step": learner.step}, settings.turns(size), settings.clock)["step"]
    return {"seconds": statistics.median(seconds), "peak_memory_mb": peak_memory_mb(learner.device)}


def scan(settings: Settings, steps: int, dim: int) -> Answer:
    """Forward and backward of the recurrence, against the same under autograd in a loop of torch operations."""
    if settings.cpu_time:
        torch.set_num_threads(1)
    draws = torch.Generator().manual_seed(0)
    a, b = (torch.rand(steps, 8, dim, generator=draws).to(settings.device).requires_grad_() for _ in range(2))
    h0 = torch.zeros(8, dim, device=settings.device)
    torch.empty(7 << 20)  # freed at once: from then on, as behind a training step, the allocator keeps its pages

    def ours() -> None:
        _backward(linear_recurrence(a, b, h0), a, b)

    def loop() -> None:
        h, found = h0, []
        for a_t, b_t in zip(a.unbind(), b.unbind(), strict=True):
            h = a_t * h + b_t
            found.append(h)
        _backward(torch.stack(found), a, b)

    seconds = bench.alternate({"ours": ours, "loop": loop}, settings.repeats, settings.clock)
    return {"ratio": vars(bench.ratio(seconds["loop"], seconds["ours"])), "seconds": statistics.median(seconds["ours"])}


def _backward(h: Tensor, a: Tensor, b: Tensor) -> None:
    torch.autograd.grad(h, [a, b], torch.ones_like(h))


def cores(settings: Settings, size: str, precision: str = "fp32") -> Answer:
    """A step of the LSTM variant against one of the QRNN variant, and the scan's share of the latter."""
    lstm = settings.learner(size, precision=precision)
    qrnn = settings.learner(size, core="qrnn", precision=precision)
    seconds = bench.alternate({"lstm": lstm.step, "qrnn": qrnn.step}, settings.turns(size), settings.clock)
    scanned = scan(settings, qrnn.trainer.bptt, qrnn.model.dim)["seconds"] * len(qrnn.model.blocks)
    scanned *= qrnn.trainer.batch_size / 8
    return {
        "ratio": vars(bench.ratio(seconds["lstm"], seconds["qrnn"])),
        "scan_share": scanned / statistics.median(seconds["qrnn"]),
    }


def generation(settings: Settings, size: str, count: int, plain_count: int) -> Answer:
    """Bytes a second, one at a time behind a prompt of 5,000, and the ratio to the plain baseline."""
    if settings.cpu_time:
        torch.set_num_threads(1)
    fragments = ["sha_rnn", f"size/{size}"]
    bindings = ["memory = 5000", f"Trainer.device = {settings.device!r}"]
    model = build(config.resolve(fragments, bindings), needs_source=False).model.eval()
    prompt = bytes(place % 95 + 32 for place in range(5000))
    ours = generate(model, prompt, count=None, temperature=0.0)
    theirs = plain.likeliest(plain.twin(model), prompt)
    contenders: dict[str, Callable[[], object]] = {
        "ours": lambda: list(itertools.islice(ours, count)),
        "plain": lambda: list(itertools.islice(theirs, plain_count)),
    }
    seconds = bench.alternate(contenders, max(2, settings.repeats // 2), settings.clock)
    rates = [count / s for s in seconds["ours"]], [plain_count / s for s in seconds["plain"]]
    return {"bytes_per_second": vars(bench.Spread.of(rates[0])), "ratio": vars(bench.ratio(rates[0], rates[1]))}


def working(settings: Settings, threads: int, start_at: float, seconds: float) -> Answer:
    """Bytes a second that one process trains from a moment on."""
    learner = settings.learner("small")
    torch.set_num_threads(threads)
    learner.step()
    time.sleep(max(0.0, start_at - time.time()))
    begun, before = time.perf_counter(), learner.progress.bytes
    while time.perf_counter() - begun < seconds:
        learner.step()
    return {"bytes_per_second": (learner.progress.bytes - before) / (time.perf_counter() - begun)}


def start(settings: Settings, *arguments: str) -> Answer:
    """Seconds until a command has answered, the best of five."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    taken = []
    for _ in range(5):
        before = time.perf_counter(), os.times()
        subprocess.run([sys.executable, "-m", "rnnlab", *arguments], check=True, capture_output=True, env=environment)
        after = time.perf_counter(), os.times()
        own = after[1].children_user + after[1].children_system - before[1].children_user - before[1].children_system
        taken.append(own if settings.cpu_time else after[0] - before[0])
    return {"seconds": min(taken)}


def corpus(settings: Settings, size: int) -> Answer:
    """Seconds to open a file of so many bytes, and what that and reading a tenth of it add to the process [MB]."""
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "corpus", Path(folder) / "small"
        small.write_bytes(os.urandom(1000))
        open_corpus(str(small))  # what the first opening imports is not counted
        with path.open("wb") as file:
            for _ in range(size // 10_000_000):
                file.write(os.urandom(10_000_000))
        before, held = time.perf_counter(), resident_mb()
        opened = open_corpus(str(path))
        seconds = time.perf_counter() - before
        batches = Batches(opened.train, 8)
        most = held
        for position in range(0, batches.length // 10, 1024):
            batches.chunk(position, 1024)
            most = max(most, resident_mb())
    return {"seconds": seconds, "added_mb": most - held}


def resident_mb() -> float:
    """What this process holds in memory now [MB]; Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

"""How fast a configuration trains here: a step split in its parts, against the machine's ceilings and a plain baseline.

Contenders take turns in one process, because two processes of the same run differ by 8%.
"""

import importlib.util
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from rnnlab import config
from rnnlab.data.source import Chunk, counted_in
from rnnlab.errors import ConfigError
from rnnlab.evaluation import longest_memory
from rnnlab.model import count_parameters
from rnnlab.speed.stopwatch import Clock, Spread, alternate, clock_of, ratio
from rnnlab.speed.timeline import SLOTS, split
from rnnlab.training.experiment import build
from rnnlab.training.learner import Learner, peak_memory_mb

READ = 1024  # [positions] read at a time to fill the memory
COPIED = 1 << 26  # [bytes] moved to see how fast memory is copied


def benchmark(
    fragments: Sequence[str],
    overrides: Sequence[str] = (),
    against: str | None = None,
    repeats: int = 7,
    cpu_time: bool = False,
) -> dict[str, Any]:
    """Measure training steps of a configuration with its memory full.

    Args:
        against: name of a baseline in the checkout's bench/ folder, "plain"; None for none.
        repeats: steps of each contender that are timed, after one that is not.
        cpu_time: count this process's CPU time instead of the clock's: for a machine that is shared, with one thread.
    Returns: "bytes_per_second" and "ratio" as spreads, "parts" with seconds and shares, ceilings, peak memory.
    Raises: ConfigError, DataError as training does; ConfigError if repeats < 1 or there is no such baseline.
    """
    if repeats < 1:
        raise ConfigError(f"repeats {repeats}: at least 1")
    baseline = load_baseline(against) if against else None
    learner = steady_learner(fragments, overrides)
    if cpu_time and learner.device.type != "cpu":
        raise ConfigError(f"--cpu-time counts what the CPU does, and the device is {learner.device}; leave it out")
    clock = clock_of(learner.device, cpu_time)
    learner.step()
    parts = split(learner, clock, repeats)
    memory_mb = peak_memory_mb(learner.device)
    ceilings = measure_ceilings(learner, clock)
    alone: dict[str, Callable[[], object]] = {"ours": learner.step}
    seconds = alternate(against_baseline(learner, baseline) if baseline else alone, repeats, clock)
    read = bytes_of_step(learner)
    answer = {
        **_describe(learner),
        "clock": "cpu" if cpu_time else "wall",
        "bytes_per_second": vars(Spread.of([read / s for s in seconds["ours"]])),
        "step_seconds": vars(Spread.of(seconds["ours"])),
        "parts": _parts(learner, parts, ceilings),
        "ceilings": ceilings,
        "matrix_share": 6 * learner.model.macs() * read / statistics.median(seconds["ours"]) / ceilings["matrix"],
        "peak_memory_mb": memory_mb,
    }
    if against:
        answer["against"] = against
        answer["against_bytes_per_second"] = vars(Spread.of([read / s for s in seconds[against]]))
        answer["ratio"] = vars(ratio(seconds[against], seconds["ours"]))
    return answer


def steady_learner(fragments: Sequence[str], overrides: Sequence[str] = ()) -> Learner:
    """A learner whose steps are all alike: its memory is full and its chunks have one length."""
    learner = Learner(build(config.resolve(fragments, [*overrides, "Trainer.jitter = False"])))
    fill_memory(learner)
    return learner


def fill_memory(learner: Learner, at_once: int = READ) -> None:
    """Read, without learning and so many positions at a time, until the memory is as long as it becomes."""
    for inputs in _past(learner, at_once):
        with torch.no_grad(), learner._autocast():
            learner.state = learner.model(inputs, learner.state)[1]


def bytes_of_step(learner: Learner) -> int:
    """[bytes] read for a step of chunks of full length; of a task, [positions] on average."""
    t = learner.trainer
    return int(learner.batches.mean_chunk(t.bptt) * t.batch_size * t.accumulate)


def _past(learner: Learner, at_once: int = READ) -> list[Tensor]:
    """Chunks (T, B) that fill the longest memory; the learner stands behind them afterwards. The examples of a task
    begin with an empty one: there are none."""
    if learner.source.task is not None:
        return []
    stop = min(longest_memory(learner.model) or 0, learner.batches.positions(0) // 2)
    learner.progress = replace(learner.progress, position=stop)
    chunks = (Chunk(0, start, min(at_once, stop - start)) for start in range(0, stop, at_once))
    return [learner.batches.read(chunk).inputs.to(learner.device) for chunk in chunks]


def against_baseline(learner: Learner, module: ModuleType) -> dict[str, Callable[[], object]]:
    """Steps of both, to be called in turns: the baseline takes the chunk that the learner took last."""
    name = module.__name__.rpartition(".")[2]
    start = learner.progress
    baseline = module.Baseline(learner)
    for inputs in _past(learner):
        baseline.read(inputs)
    learner.progress = start
    taken: dict[str, Any] = {}

    def ours() -> None:
        (chunk,) = learner.chunks()[:1]
        taken["chunk"] = chunk
        taken["lr"] = learner.step()["lr"]

    def theirs() -> None:
        read = learner.batches.read(taken["chunk"])
        baseline.step(read.inputs.to(learner.device), read.targets.to(learner.device), taken["lr"])

    return {"ours": ours, name: theirs}


def load_baseline(name: str) -> ModuleType:
    """Raises: ConfigError if it is not there, as in an installed wheel."""
    path = Path(__file__).resolve().parents[2] / "bench" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"bench.{name}", path)
    if not path.exists() or spec is None or spec.loader is None:
        raise ConfigError(
            f"--against {name}: there is no {path}; baselines lie in a checkout of rnnlab, not in a wheel"
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure_ceilings(learner: Learner, clock: Clock) -> dict[str, float]:
    """What this machine does at best, with the threads and the libraries in use.

    Returns: "matrix" [FLOP/s] of a product as large as the model's largest in the run's precision, and "copy" [bytes/s]
        read and written where no cache holds the data.
    """
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(learner.trainer.precision, torch.float32)
    size = 2048 if learner.device.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=learner.device).to(dtype) for _ in range(2))
    data = torch.zeros(COPIED // 4, device=learner.device)
    room = torch.empty_like(data)
    seconds = alternate({"matrix": lambda: a @ b, "copy": lambda: room.copy_(data)}, 5, clock)
    return {"matrix": 2 * size**3 / min(seconds["matrix"]), "copy": 2 * COPIED / min(seconds["copy"])}


def _describe(learner: Learner) -> dict[str, Any]:
    t = learner.trainer
    return {
        "parameters": count_parameters(learner.model),
        "dim": learner.model.dim,
        "layers": len(learner.model.blocks),
        "batch_size": t.batch_size,
        "bptt": t.bptt,
        "memory": longest_memory(learner.model),
        "precision": t.precision,
        "device": str(learner.device),
        "threads": torch.get_num_threads(),
        "counted": counted_in(learner.source),
    }


def _parts(learner: Learner, seconds: dict[str, Spread], ceilings: dict[str, float]) -> dict[str, dict[str, float]]:
    """Seconds, share of the step, and how near each comes to the ceiling that bounds it."""
    read = bytes_of_step(learner)
    total = sum(spread.median for spread in seconds.values())
    macs = {"head": learner.model.dim * learner.model.vocabulary}
    for slot, label in SLOTS.items():
        macs[label] = sum(part.macs() for block in learner.model.blocks if (part := getattr(block, slot, None)))
    parts: dict[str, dict[str, float]] = {}
    for label, spread in seconds.items():
        parts[label] = {"seconds": spread.median, "share": spread.median / total}
        if macs.get(label):
            parts[label]["matrix_share"] = 6 * macs[label] * read / spread.median / ceilings["matrix"]
    return parts

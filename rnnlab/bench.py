"""How fast a configuration trains here: a step split in its parts, against the machine's ceilings and a plain baseline.

Everything is measured from outside: hooks and replaced attributes of one learner, nothing in the parts themselves.
Contenders take turns in one process, because two processes of the same run differ by 8%.
"""

import importlib.util
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from rnnlab import config
from rnnlab.data import Lanes
from rnnlab.errors import ConfigError
from rnnlab.evaluation import longest_memory
from rnnlab.experiment import build
from rnnlab.learner import Learner, peak_memory_mb
from rnnlab.model import VOCABULARY, count_parameters

Clock = Callable[[], float]
SLOTS = {"core": "core", "attention": "attention", "feedforward": "feed-forward"}
"""Attributes of a block that hold its parts, and what their time is called."""

READ = 1024  # [positions] read at a time to fill the memory
COPIED = 1 << 26  # [bytes] moved to see how fast memory is copied
STEADY = ["Trainer.jitter = False"]  # every step is then as long as every other


@dataclass(frozen=True)
class Spread:
    """What repeated measurements of one thing came to."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Ceilings:
    """What this machine does at best, with the threads and the libraries in use."""

    matrix: float  # [FLOP/s] of a large product in the run's precision
    copy: float  # [bytes/s] read and written


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
    baseline_module = load_baseline(against) if against else None
    learner = steady_learner(fragments, overrides)
    clock = clock_of(learner.device, cpu_time)
    learner.step()
    parts = split(learner, clock, repeats)
    memory_mb = peak_memory_mb(learner.device)
    ceilings = measure_ceilings(learner, clock)
    contenders: dict[str, Callable[[], object]] = {"ours": learner.step}
    if baseline_module:
        contenders = against_baseline(learner, baseline_module)
    seconds = alternate(contenders, repeats, clock)
    read = bytes_of_step(learner)
    answer = {
        **_describe(learner),
        "clock": "cpu" if cpu_time else "wall",
        "bytes_per_second": vars(Spread.of([read / s for s in seconds["ours"]])),
        "step_seconds": vars(Spread.of(seconds["ours"])),
        "parts": _parts(learner, parts, ceilings),
        "ceilings": vars(ceilings),
        "matrix_share": 6 * learner.model.macs() * read / statistics.median(seconds["ours"]) / ceilings.matrix,
        "peak_memory_mb": memory_mb,
    }
    if against:
        answer["against"] = against
        answer["against_bytes_per_second"] = vars(Spread.of([read / s for s in seconds[against]]))
        answer["ratio"] = vars(ratio(seconds[against], seconds["ours"]))
    return answer


def steady_learner(fragments: Sequence[str], overrides: Sequence[str] = ()) -> Learner:
    """A learner whose steps are all alike: its memory is full and its chunks have one length."""
    learner = Learner(build(config.resolve(fragments, [*overrides, *STEADY])))
    for inputs in _past(learner):
        with torch.no_grad(), learner._autocast():
            learner.stream = learner.model(inputs, learner.stream)[1]
    return learner


def bytes_of_step(learner: Learner) -> int:
    t = learner.trainer
    return t.chunk * t.lanes * t.accumulate


def _past(learner: Learner) -> list[Tensor]:
    """Chunks (T, B) that fill the longest memory; the learner stands behind them afterwards."""
    chunks = []
    stop = min(longest_memory(learner.model) or 0, learner.lanes.length // 2)
    for position in range(0, stop, READ):
        length = min(READ, stop - position)
        chunks.append(learner.lanes.chunk(position, length)[0].to(learner.device))
    learner.progress = replace(learner.progress, position=stop)
    return chunks


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
        (piece,) = learner.pieces()[:1]
        taken["chunk"] = piece.position, piece.length
        taken["lr"] = learner.step()["lr"]

    def theirs() -> None:
        inputs, targets = learner.lanes.chunk(*taken["chunk"])
        baseline.step(inputs.to(learner.device), targets.to(learner.device), taken["lr"])

    return {"ours": ours, name: theirs}


def load_baseline(name: str) -> ModuleType:
    """Raises: ConfigError if it is not there, as in an installed wheel."""
    path = Path(__file__).resolve().parents[1] / "bench" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"bench.{name}", path)
    if not path.exists() or spec is None or spec.loader is None:
        raise ConfigError(
            f"--against {name}: there is no {path}; baselines lie in a checkout of rnnlab, not in a wheel"
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- measuring --------------------------------------------------------------------------------------------------------


def alternate(
    contenders: dict[str, Callable[[], object]], repeats: int, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds that each contender took, `repeats` times in turns, after one turn that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, run in contenders.items():
            start = clock()
            run()
            if turn:
                seconds[name].append(clock() - start)
    return seconds


def ratio(slower: Sequence[float], faster: Sequence[float]) -> Spread:
    """How many times as long one takes as the other, turn by turn."""
    return Spread.of([a / b for a, b in zip(slower, faster, strict=True)])


def clock_of(device: torch.device, cpu_time: bool) -> Clock:
    """Seconds; on a GPU once it has done what it was asked to."""
    if device.type == "cuda":

        def synchronized() -> float:
            torch.cuda.synchronize(device)
            return time.perf_counter()

        return synchronized
    return time.process_time if cpu_time else time.perf_counter


def measure_ceilings(learner: Learner, clock: Clock) -> Ceilings:
    """Of a product as large as the model's largest in the run's precision, and of a copy that no cache holds."""
    t = learner.trainer
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(t.precision, torch.float32)
    size = 2048 if learner.device.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=learner.device).to(dtype) for _ in range(2))
    data = torch.zeros(COPIED // 4, device=learner.device)
    room = torch.empty_like(data)
    seconds = alternate({"matrix": lambda: a @ b, "copy": lambda: room.copy_(data)}, 5, clock)
    return Ceilings(2 * size**3 / min(seconds["matrix"]), 2 * COPIED / min(seconds["copy"]))


class _Timeline:
    """Gives every stretch of time to the part that runs in it."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._label, self._since = clock, "rest", clock()
        self.seconds: dict[str, float] = defaultdict(float)

    def switch(self, label: str) -> None:
        now = self._clock()
        self.seconds[self._label] += now - self._since
        self._label, self._since = label, now


class _TimedLanes:
    """Lanes whose chunks are cut on the timeline."""

    def __init__(self, lanes: Lanes, timeline: _Timeline) -> None:
        self._lanes, self._timeline = lanes, timeline

    def chunk(self, position: int, length: int) -> tuple[Tensor, Tensor]:
        self._timeline.switch("data")
        chunk = self._lanes.chunk(position, length)
        self._timeline.switch("rest")
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lanes, name)


def split(learner: Learner, clock: Clock, repeats: int) -> dict[str, Spread]:
    """Seconds of a step by part, forward and backward together: {"core": ..., "optimizer": ..., ...}.

    Empty where the step is compiled or recorded: it has no parts then that could be told apart from outside.
    """
    if learner.trainer.compile or learner.trainer.cuda_graph:
        return {}
    lanes, update, model = learner.lanes, learner._update, learner.model
    steps = []
    for _ in range(repeats):
        timeline = _Timeline(clock)

        def timed_update(loss: Tensor, timeline: _Timeline = timeline) -> tuple[float, float, bool]:
            timeline.switch("optimizer")
            try:
                return update(loss)
            finally:
                timeline.switch("rest")

        handles = _watch(model, "head", "rest", timeline)
        for block in model.blocks:
            handles += _watch(block, "wiring", "head", timeline)
            for slot, label in SLOTS.items():
                if isinstance(part := getattr(block, slot, None), nn.Module):
                    handles += _watch(part, label, "wiring", timeline)
        learner.lanes = _TimedLanes(lanes, timeline)  # type: ignore[assignment]
        learner._update = timed_update  # type: ignore[method-assign]
        try:
            learner.step()
            timeline.switch("end")
        finally:
            for handle in handles:
                handle.remove()
            learner.lanes = lanes
            learner._update = update  # type: ignore[method-assign]
        steps.append(timeline.seconds)
    labels = ["core", "attention", "feed-forward", "wiring", "head", "optimizer", "data", "rest"]
    return {label: Spread.of([step[label] for step in steps]) for label in labels if any(label in s for s in steps)}


def _watch(module: nn.Module, label: str, outside: str, timeline: _Timeline) -> list[Any]:
    """Between entering and leaving the module, forward and backward, the time is `label`'s; else it is `outside`'s."""

    def on_gradient(x: object, name: str) -> None:
        if isinstance(x, Tensor) and x.requires_grad:
            x.register_hook(lambda gradient: timeline.switch(name))  # type: ignore[no-untyped-call]

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        for x in inputs:
            on_gradient(x, outside)
        timeline.switch(label)

    def leave(module: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
        on_gradient(outputs[0] if isinstance(outputs, tuple) else outputs, label)
        timeline.switch(outside)

    return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]


# --- telling ----------------------------------------------------------------------------------------------------------


def _describe(learner: Learner) -> dict[str, Any]:
    t = learner.trainer
    return {
        "parameters": count_parameters(learner.model),
        "dim": learner.model.dim,
        "layers": len(learner.model.blocks),
        "lanes": t.lanes,
        "chunk": t.chunk,
        "memory": longest_memory(learner.model),
        "precision": t.precision,
        "device": str(learner.device),
        "threads": torch.get_num_threads(),
    }


def _parts(learner: Learner, seconds: dict[str, Spread], ceilings: Ceilings) -> dict[str, dict[str, float]]:
    """Seconds, share of the step, and how near each comes to the ceiling that bounds it."""
    read = bytes_of_step(learner)
    total = sum(spread.median for spread in seconds.values())
    macs = {"head": learner.model.dim * VOCABULARY}
    for slot, label in SLOTS.items():
        macs[label] = sum(part.macs() for block in learner.model.blocks if (part := getattr(block, slot, None)))
    parts: dict[str, dict[str, float]] = {}
    for label, spread in seconds.items():
        parts[label] = {"seconds": spread.median, "share": spread.median / total}
        if macs.get(label):
            parts[label]["matrix_share"] = 6 * macs[label] * read / spread.median / ceilings.matrix
    return parts


def benchmark_text(answer: dict[str, Any]) -> str:
    """What `rnnlab bench` prints."""
    memory = "no memory" if answer["memory"] is None else f"memory {answer['memory']:,}"
    threads = f"{answer['threads']} thread" + "s" * (answer["threads"] != 1)
    lines = [
        f"{answer['parameters']:,} parameters, {answer['layers']} layers of width {answer['dim']}, {memory}; "
        f"{answer['lanes']} lanes of {answer['chunk']}, {answer['precision']}, {answer['device']}, {threads}",
        "",
        f"{'part':<14}{'ms':>9}{'share':>9}{'of the matrix ceiling':>24}",
    ]
    for label, part in answer["parts"].items():
        ceiling = f"{part['matrix_share']:.0%}" if "matrix_share" in part else ""
        lines.append(f"{label:<14}{part['seconds'] * 1e3:>9.1f}{part['share']:>9.1%}{ceiling:>24}")
    step, ceilings = answer["step_seconds"]["median"], answer["ceilings"]
    lines += [
        f"{'step':<14}{step * 1e3:>9.1f}{'':>9}{answer['matrix_share']:>24.0%}",
        "",
        f"ceilings: {ceilings['matrix'] / 1e9:,.0f} GFLOP/s, copy {ceilings['copy'] / 1e9:,.1f} GB/s",
        f"peak memory: {answer['peak_memory_mb']:,.0f} MB",
        f"training: {_spread_text(answer['bytes_per_second'])} bytes/s"
        + (" of CPU time" if answer["clock"] == "cpu" else ""),
    ]
    if "ratio" in answer:
        r = answer["ratio"]
        lines += [
            f"{answer['against']}: {_spread_text(answer['against_bytes_per_second'])} bytes/s",
            f"ratio: {r['median']:.2f} ({r['least']:.2f} to {r['most']:.2f})",
        ]
    return "\n".join(lines)


def _spread_text(spread: dict[str, float]) -> str:
    return f"{spread['median']:,.0f} ({spread['least']:,.0f} to {spread['most']:,.0f})"

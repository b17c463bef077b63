"""`make bench`: the targets, what was reached here, and bench.json. Every task runs in a process of its own.

python -m bench [--device cuda] [--cpu-time] [--repeats N] [--only WORD] [--out FILE]
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm import tqdm

from bench import growth, tasks
from bench.tasks import Answer, Settings

GROWTH = (1, 1024, 2048, 5000)
"""Memories [positions] of the table of time and space."""

SCANS = ((256, 256), (256, 1024), (1024, 256), (1024, 1024))
"""T, D of the recurrences that are timed, at B 8."""


@dataclass(frozen=True)
class Row:
    """One target and what was reached."""

    name: str
    value: float
    target: float
    at_most: bool = False
    unit: str = ""
    detail: str = ""
    spread: tuple[float, float] | None = None

    @property
    def reached(self) -> bool:
        return self.value <= self.target if self.at_most else self.value >= self.target


@dataclass
class Table:
    """Rows as they are measured, and the numbers behind them."""

    settings: Settings
    only: str = ""
    rows: list[Row] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    growth: dict[int, Answer] = field(default_factory=dict)  # by memory [positions]

    def ask(self, name: str, task: Callable[..., Answer], *arguments: object) -> Answer | None:
        """The answer of a task, measured in a fresh process; None if its name was not asked for."""
        if self.only not in name:
            return None
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            self.answers[name] = pool.submit(task, self.settings, *arguments).result()
        return self.answers[name]

    def add(self, name: str, spread: dict[str, float], target: float, at_most: bool = False, detail: str = "") -> None:
        around = (spread["least"], spread["most"])
        self.rows.append(Row(name, spread["median"], target, at_most, "x", detail, around))


def measure_cpu(table: Table) -> Iterator[None]:
    """Yields after each task."""
    for size, precision, target in (
        ("small", "fp32", 1.8),
        ("small", "bf16", 2.5),
        ("paper", "fp32", 1.5),
        ("paper", "bf16", 2.0),
    ):
        yield from _training(table, f"training, {size}, {precision}", size, precision, target)
    yield from _training(
        table, "training, small, fp32, memory 5,000", "small", "fp32", 2.2, "memory = 5000", "paper_bptt = 256"
    )
    for size, precision in (("small", "fp32"), ("small", "bf16")):
        if table.ask(f"profile, {size}, {precision}", tasks.profile, size, precision):
            yield
    for size, target in (("small", 1.25), ("paper", 1.1)):
        if answer := table.ask(name := f"step at memory 5,000 over 1, {size}", tasks.memory_growth, size, "fp32"):
            table.add(name, answer["ratio"], target, at_most=True)
            yield
    for positions in GROWTH:
        if answer := table.ask(f"memory {positions}, small", tasks.memory_point, "small", positions):
            table.growth[positions] = answer
            yield
    if len(table.growth) == len(GROWTH):
        least, most = (table.growth[positions]["peak_memory_mb"] for positions in (GROWTH[0], GROWTH[-1]))
        table.rows.append(Row("peak memory at 5,000 over 1, small", most / least, 1.2, True, "x", f"{most:,.0f} MB"))
    yield from _scans(table)
    if answer := table.ask("step, LSTM over QRNN, small", tasks.cores, "small"):
        table.add("step, LSTM over QRNN, small", answer["ratio"], 1.4)
        table.rows.append(Row("the scan's share of the QRNN's step", 100 * answer["scan_share"], 3.0, True, "%"))
        yield
    yield from _generation(table, (("small", 8.0, 300, 40), ("paper", 5.0, 40, 10)))
    yield from _grid(table)
    for name, target, arguments in (
        ("rnnlab --help", 0.3, ["--help"]),
        ("rnnlab show", 3.0, ["show", "sha_rnn", "size/small"]),
    ):
        if answer := table.ask(name, tasks.start, *arguments):
            table.rows.append(Row(name, answer["seconds"], target, True, "s"))
            yield
    if answer := table.ask("opening 100 MB", tasks.corpus, 100_000_000):
        table.rows.append(Row("opening 100 MB", 1e3 * answer["seconds"], 50.0, True, "ms"))
        table.rows.append(Row("what opening and reading it adds", answer["added_mb"], 30.0, True, "MB"))
        yield


def measure_gpu(table: Table) -> Iterator[None]:
    """Yields after each task."""
    yield from _training(table, "training, paper, bf16", "paper", "bf16", 4.0)
    yield from _training(table, "training, paper, fp32", "paper", "fp32", 1.5)
    if table.ask("profile, paper, bf16", tasks.profile, "paper", "bf16"):
        yield
    for way in tasks.WAYS:
        if answer := table.ask(f"step, eager over {way}, paper", tasks.launching, "paper", "bf16", way):
            table.add(f"step, eager over {way}, paper", answer["ratio"], 1.1)  # less is not worth a switch
            yield
    if answer := table.ask("step at memory 5,000 over 1, paper", tasks.memory_growth, "paper", "bf16"):
        table.add("step at memory 5,000 over 1, paper", answer["ratio"], 1.1, at_most=True)
        yield
    yield from _scans(table)
    if answer := table.ask("step, LSTM over QRNN, paper", tasks.cores, "paper", "bf16"):
        table.add("step, LSTM over QRNN, paper", answer["ratio"], 3.0)
        yield
    yield from _generation(table, (("small", 8.0, 300, 40), ("paper", 5.0, 100, 20)))


def _training(table: Table, name: str, size: str, precision: str, target: float, *bindings: str) -> Iterator[None]:
    if answer := table.ask(name, tasks.training, size, precision, *bindings):
        table.add(name, answer["ratio"], target, detail=f"{answer['bytes_per_second']['median']:,.0f} bytes/s")
        yield


def _scans(table: Table) -> Iterator[None]:
    for steps, dim in SCANS:
        if answer := table.ask(name := f"scan over a loop, T {steps}, D {dim}", tasks.scan, steps, dim):
            table.add(name, answer["ratio"], 5.0, detail=f"{1e3 * answer['seconds']:.1f} ms")
            yield


def _generation(table: Table, cases: tuple[tuple[str, float, int, int], ...]) -> Iterator[None]:
    for size, target, count, plain_count in cases:
        if answer := table.ask(name := f"generation at 5,000, {size}", tasks.generation, size, count, plain_count):
            table.add(name, answer["ratio"], target, detail=f"{answer['bytes_per_second']['median']:,.0f} bytes/s")
            yield


def _grid(table: Table) -> Iterator[None]:
    """A worker of one thread on every core, against runs one after the other that use all of them."""
    name, workers, seconds = "a grid's throughput over one run's", os.cpu_count() or 1, 8.0
    alone = table.ask(f"{name}: alone", tasks.working, workers, time.time() + 20.0, seconds)
    if alone is None:
        return
    yield
    start = time.time() + 30.0
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        asked = [pool.submit(tasks.working, table.settings, 1, start, seconds) for _ in range(workers)]
        together = [one.result()["bytes_per_second"] for one in asked]
    table.answers[f"{name}: together"] = {"bytes_per_second": together}
    detail = f"{workers} workers, {sum(together):,.0f} bytes/s"
    table.rows.append(Row(name, sum(together) / alone["bytes_per_second"], 1.15, False, "x", detail))
    yield


def text(rows: list[Row]) -> str:
    """The table to read."""
    lines = [f"{'':<40}{'here':>10}{'target':>12}  {'':<8}{'':<20}spread"]
    for row in rows:
        target = f"{'<=' if row.at_most else '>='} {row.target:g} {row.unit}"
        spread = f"{row.spread[0]:.2f} to {row.spread[1]:.2f}" if row.spread else ""
        verdict = "reached" if row.reached else "not yet"
        lines.append(f"{row.name:<40}{row.value:>7.2f} {row.unit:<2}{target:>12}  {verdict:<8}{row.detail:<20}{spread}")
    return "\n".join(lines)


def _machine(settings: Settings) -> dict[str, object]:
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(": ")[2] if names else processor
    device = torch.cuda.get_device_name() if settings.device != "cpu" else processor
    return {"device": device, "cores": os.cpu_count(), "torch": torch.__version__, "python": platform.python_version()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cpu-time", action="store_true", help="CPU time on one thread: for a machine in use")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", default="", metavar="WORD", help="tasks with this in their name")
    parser.add_argument("--out", default="bench.json", type=Path)
    options = parser.parse_args()
    settings = Settings(options.device, options.cpu_time, options.repeats)
    table, measure = Table(settings, options.only), measure_cpu if options.device == "cpu" else measure_gpu
    begun = time.monotonic()
    for _ in tqdm(measure(table), desc="bench", unit="task", disable=None):
        pass
    print(text(table.rows))
    if len(table.growth) > 1:
        print(f"\n{growth.text(table.growth)}")
        drawn = growth.draw(table.growth, options.out.with_name(f"{options.out.stem}-memory"))
        print(f"picture: {drawn[0]}")
    found = {"machine": _machine(settings), "settings": asdict(settings), "seconds": time.monotonic() - begun}
    found |= {"rows": [{**asdict(row), "reached": row.reached} for row in table.rows], "answers": table.answers}
    options.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

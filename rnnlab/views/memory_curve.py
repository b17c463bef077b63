"""BPC against memory length from one checkpoint: how much of its memory does a trained model use?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from rnnlab.api import load, text_of
from rnnlab.errors import ConfigError
from rnnlab.evaluation import Score, evaluate, with_memory
from rnnlab.views import numerals, plots, tables
from rnnlab.views.tables import Column, Table

FOLDER = "memory"  # within the run


@dataclass(frozen=True)
class MemoryCurve:
    """What a run scores with other memories than its own."""

    split: str
    trained: int | None  # the memory it was trained with [positions]; None if its layers have several
    points: Sequence[tuple[int, Score]]  # (memory [positions], score), in the order asked for

    def table(self, name: str) -> Table:
        columns = [
            Column("memory", "Memory", "number", numerals.grouped, unit="positions"),
            Column("bpc", f"{self.split.capitalize()} BPC", "number", numerals.decimal(4)),
            Column("difference", "Δ BPC", "number", lambda d: f"{d:+.4f}"),
            Column("trained", "", "text"),
        ]
        best = min(score.bpc for _, score in self.points)
        rows: list[dict[str, tables.Cell]] = [
            {"memory": memory, "bpc": score.bpc, "difference": score.bpc - best,
             "trained": "as trained" if memory == self.trained else None}
            for memory, score in self.points
        ]  # fmt: skip
        p = self.points[0][1].protocol
        notes = [
            "One checkpoint, no retraining; Δ BPC is over the best of these.",
            f"{p.bytes_scored:,} bytes scored, batch size {p.batch_size}, bptt {p.bptt}.",
        ]
        return Table(f"{name}: {self.split} BPC against memory", columns, rows, notes)

    @plots.styled()
    def figure(self) -> Figure:
        figure = Figure(figsize=(6.0, 4.0), layout="constrained")
        axis = figure.subplots()
        points = sorted((memory, score.bpc) for memory, score in self.points)
        axis.plot(*zip(*points, strict=True), marker="o", color=plots.PALETTE[0], lw=1.8)
        if self.trained is not None:
            axis.axvline(self.trained, color="#888888", lw=1, dashes=(4, 3), label="as trained")
            figure.legend(loc="outside lower center")
        axis.set(xscale="log", xlabel="Memory [positions]", ylabel=f"{self.split.capitalize()} BPC [bits/byte]")
        axis.xaxis.set_major_locator(FixedLocator([memory for memory, _ in points]))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(lambda value, _: numerals.grouped(value))
        return figure


def memory_curve(
    run: str | Path,
    lengths: Sequence[int],
    split: str = "test",
    *,
    best: bool = False,
    corpus: str | None = None,
    device: str = "auto",
) -> MemoryCurve:
    """Score one checkpoint with its attentions' memories set to each of the lengths.

    Args:
        lengths: [positions] that a query may see, itself included; longer than in training is allowed.
        split, best, corpus, device: as for `rnnlab.evaluate`.
    Raises: ConfigError for a length below 1, and for a model without a memory; else as `rnnlab.evaluate`.
    """
    if not lengths:
        raise ConfigError("--memory: name at least one length, --memory 1,256,1024")
    if short := [length for length in lengths if length < 1]:
        raise ConfigError(f"--memory {short[0]}: a query sees at least itself, so 1 [positions] is the shortest")
    loaded = load(run, best=best, device=device, needs_source=corpus is None)
    attentions = with_memory(loaded.model)
    if not attentions:
        raise ConfigError(f"{run}: no attention of this model has a memory, so there is none to change")
    text = text_of(loaded, split, corpus)
    trained = {int(part.memory) for part in attentions}
    trainer, points = loaded.experiment.trainer, []
    for length in dict.fromkeys(lengths):
        for part in attentions:
            part.memory = length
        score = evaluate(loaded.model, text, batch_size=trainer.eval_batch_size, bptt=trainer.eval_bptt, progress=True)
        points.append((length, score))
    own = trained.pop()
    return MemoryCurve(split, None if trained else own, points)


def write(curve: MemoryCurve, run: str | Path, stem: str) -> list[Path]:
    """Write table and plot as `run/memory/stem.*`. Raises: StorageError."""
    folder = Path(run) / FOLDER
    written = tables.write(curve.table(Path(run).resolve().name), folder, stem)
    return [*written, *plots.drawn(curve.figure, folder, stem)]

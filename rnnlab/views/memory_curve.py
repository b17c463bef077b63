"""BPC or accuracy against memory length from one checkpoint: how much of its memory does a trained model use?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from rnnlab.api import load, what_is_scored
from rnnlab.errors import ConfigError
from rnnlab.evaluation import evaluate, with_memory
from rnnlab.scoring.score import Score
from rnnlab.storage.runfolder import check_no_link
from rnnlab.views import numerals, plots, tables
from rnnlab.views.tables import Column, Table

FOLDER = "memory"  # within the run
MOST_LINES = 7  # of difficulties in one picture; beyond, their mean alone


@dataclass(frozen=True)
class MemoryCurve:
    """What a run scores with other memories than its own."""

    split: str
    trained: int | None  # the memory it was trained with [positions]; None if its layers have several
    points: Sequence[tuple[int, Score]]  # (memory [positions], score), in the order asked for

    def table(self, name: str) -> Table:
        if self.of_task:
            return self._table_of_task(name)
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

    @property
    def of_task(self) -> bool:
        return self.points[0][1].accuracy is not None

    def _table_of_task(self, name: str) -> Table:
        """A row a memory: the mean accuracy, and that at each difficulty."""
        first = self.points[0][1]
        columns = [
            Column("memory", "Memory", "number", numerals.grouped, unit="positions"),
            Column("accuracy", f"{self.split.capitalize()} accuracy", "number", numerals.decimal(3)),
            *(Column(f"accuracy@{one.difficulty}", f"at {one.difficulty:,}", "number", numerals.decimal(3))
              for one in first.by if len(first.by) > 1),
            Column("nats", "Nats", "number", numerals.decimal(4)),
            Column("trained", "", "text"),
        ]  # fmt: skip
        rows: list[dict[str, tables.Cell]] = [
            {"memory": memory, "accuracy": score.accuracy, "nats": score.nats,
             **{f"accuracy@{one.difficulty}": one.accuracy for one in score.by},
             "trained": "as trained" if memory == self.trained else None}
            for memory, score in self.points
        ]  # fmt: skip
        p = first.protocol
        notes = [
            "One checkpoint, no retraining. Accuracy is the mean over the difficulties.",
            f"Chance {first.chance:.3f}; {p.answers:,} answers scored, batch size {p.batch_size}, bptt {p.bptt}.",
        ]
        return Table(f"{name}: {self.split} accuracy against memory", columns, rows, notes)

    def _lines(self) -> dict[str, list[float]]:
        """What is drawn against memory, by name: BPC; of a task accuracy at each difficulty, or the mean of many."""
        scores = [score for _, score in self.points]
        if not self.of_task:
            return {"": [score.bpc for score in scores]}
        by = scores[0].by
        if not 1 < len(by) <= MOST_LINES:
            return {"": [score.accuracy or 0.0 for score in scores]}
        return {f"at {one.difficulty:,}": [score.by[i].accuracy for score in scores] for i, one in enumerate(by)}

    @plots.styled()
    def figure(self) -> Figure:
        figure = Figure(figsize=(6.0, 4.0), layout="constrained")
        axis = figure.subplots()
        memories = [memory for memory, _ in self.points]
        order = sorted(range(len(memories)), key=memories.__getitem__)
        for index, (name, values) in enumerate(self._lines().items()):
            style: dict[str, Any] = {"marker": plots.marker(index), "color": plots.PALETTE[index], "lw": 1.8}
            axis.plot([memories[i] for i in order], [values[i] for i in order], **style, label=name or None)
        if self.trained is not None:
            axis.axvline(self.trained, color="#888888", lw=1, dashes=(4, 3), label="as trained")
        label = "accuracy" if self.of_task else "BPC [bits/byte]"
        axis.set(xscale="log", xlabel="Memory [positions]", ylabel=f"{self.split.capitalize()} {label}")
        if (chance := self.points[0][1].chance) is not None:
            plots.draw_floor(axis, plots.Floor(chance, "chance"))
        if labels := axis.get_legend_handles_labels()[1]:
            figure.legend(loc="outside lower center", ncols=plots.legend_columns(labels, 6.0))
        axis.xaxis.set_major_locator(FixedLocator(sorted(memories)))
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
    at: Sequence[int] = (),
) -> MemoryCurve:
    """Score one checkpoint with its attentions' memories set to each of the lengths.

    Args:
        lengths: [positions] that a query may see, itself included; longer than in training is allowed.
        split, best, corpus, device, at: as for `rnnlab.evaluate`.
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
    scored = what_is_scored(loaded, split, corpus, at)
    trained = {int(part.memory) for part in attentions}
    trainer, points = loaded.experiment.trainer, []
    for length in dict.fromkeys(lengths):
        for part in attentions:
            part.memory = length
        score = evaluate(
            loaded.model, scored, batch_size=trainer.eval_batch_size, bptt=trainer.eval_bptt, progress=True
        )
        points.append((length, score))
    own = trained.pop()
    return MemoryCurve(split, None if trained else own, points)


def write(curve: MemoryCurve, run: str | Path, stem: str) -> list[Path]:
    """Write table and plot as `run/memory/stem.*`. Raises: StorageError; FolderLost if that folder is a link."""
    folder = check_no_link(Path(run) / FOLDER)
    written = tables.write(curve.table(Path(run).resolve().name), folder, stem)
    return [*written, *plots.drawn(curve.figure, folder, stem)]

"""`rnnlab compare`: what runs reached, what it cost, and in what their configurations differ.

Configurations are compared as the text that the runs hold, so that a run can be read where its parts are not installed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnlab.errors import ConfigError
from rnnlab.storage.durable import storage_errors
from rnnlab.views import numerals, page, plots, tables
from rnnlab.views.runs import Point, Run, differing, find_runs, protocol_note, read_run
from rnnlab.views.tables import Cell, Column, Table
from rnnlab.views.variants import MOST_TRAIN_POINTS, Variant, deviations, group_by_seed, name_runs, thin

BPC = {"valid_bpc": "Valid BPC", "best_valid_bpc": "Best valid", "test_bpc": "Test BPC"}
RUN_COLUMNS = (
    Column("run", "Run"),
    Column("status", "Status"),
    Column("seed", "Seed", "number"),
    *(Column(key, title, "number", numerals.decimal(3)) for key, title in BPC.items()),
)
VARIANT_COLUMNS = (
    Column("variant", "Variant"),
    Column("seeds", "Seeds"),
    *(Column(key, title, "interval", numerals.plus_minus(3)) for key, title in BPC.items()),
)
COST_COLUMNS = (
    Column("bytes_trained", "Bytes", "number", numerals.engineering),
    Column("seconds", "Time", "number", numerals.duration),
    Column("parameters", "Parameters", "number", numerals.engineering),
    Column("macs_per_byte", "MACs/byte", "number", numerals.engineering),
    Column("bytes_per_second", "Bytes/s", "number", numerals.engineering),
    Column("peak_memory_mb", "Memory", "number", numerals.grouped, unit="MB"),
)
BINDINGS = Column("bindings", "Differs in", "code")


@dataclass(frozen=True)
class Comparison:
    """What `compare` found."""

    runs: Sequence[Run]  # in the order given
    variants: Sequence[Variant]  # the same runs, grouped by seed
    differences: dict[str, list[str | None]]  # keys whose values differ: value per variant (None: not bound)
    tables: Sequence[Table]  # of the variants if there are several seeds, and of the runs
    files: Sequence[Path]  # what was written

    @property
    def text(self) -> str:
        """The tables for a terminal."""
        return "\n".join(tables.to_text(table) for table in self.tables)


def compare(paths: Sequence[Path], out: Path | None = None) -> Comparison:
    """Compare runs, or all runs of a study.

    Args:
        paths: run folders, or folders with runs below them; finished or not.
        out: where to write `compare.html`, `curves.{png,svg}`, and `runs.*` (with several seeds also `variants.*`) as
            text, Markdown, CSV, LaTeX and JSON; None for nowhere.
    Raises: ConfigError without a path; StorageError naming a folder without runs, a damaged file, or an `out` that
        cannot be written.
    """
    if not paths:
        raise ConfigError("nothing to compare: name runs or studies")
    folders = list(dict.fromkeys(run.resolve() for path in paths for run in find_runs(path)))
    runs = [read_run(folder, name) for folder, name in zip(folders, name_runs(folders), strict=True)]
    variants = group_by_seed(runs)
    found = differing([variant.runs[0].bindings for variant in variants])
    made = _tables(variants, found)
    return Comparison(runs, variants, found, made, [] if out is None else _write(variants, made, found, out))


def _tables(variants: Sequence[Variant], found: dict[str, list[str | None]]) -> list[Table]:
    runs = [run for variant in variants for run in variant.runs]
    notes = [note] if (note := protocol_note([run.facts for run in runs])) else []
    bindings = [deviations(found, index) for index in range(len(variants))]
    if len(variants) == len(runs):
        rows = [{**_run_row(run), "bindings": bindings[i]} for i, run in enumerate(runs)]
        return [Table(_count(len(runs), "run"), [*RUN_COLUMNS, *COST_COLUMNS, BINDINGS], rows, notes)]
    means = ["Means over the seeds that are done; ± is half the 95% confidence interval (Student t).", *notes]
    variant_rows = [{**_variant_row(variant), "bindings": bindings[i]} for i, variant in enumerate(variants)]
    run_rows = [{**_run_row(run), "variant": variant.name} for variant in variants for run in variant.runs]
    return [
        Table(_count(len(variants), "variant"), [*VARIANT_COLUMNS, *COST_COLUMNS, BINDINGS], variant_rows, means),
        Table(_count(len(runs), "run"), [*RUN_COLUMNS, Column("variant", "Variant"), *COST_COLUMNS], run_rows, notes),
    ]


def _run_row(run: Run) -> dict[str, Cell]:
    figures = {column.key: run.number(column.key) for column in (*RUN_COLUMNS, *COST_COLUMNS)}
    return {**figures, "run": run.name, "status": run.status, "seed": run.seed}


def _variant_row(variant: Variant) -> dict[str, Cell]:
    done, every = len(variant.done), len(variant.runs)
    return {
        "variant": variant.name,
        "seeds": str(every) if done == every else f"{done} of {every}",
        **{key: variant.interval(key) for key in BPC},
        **{column.key: variant.mean(column.key) for column in COST_COLUMNS},
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _write(
    variants: Sequence[Variant], made: Sequence[Table], found: dict[str, list[str | None]], out: Path
) -> list[Path]:
    files = []
    for table in made:
        files += tables.write(table, out, f"{table.columns[0].key}s")
    files += plots.drawn(lambda: plots.learning_curves(panels(variants)), out, "curves")
    html = out / "compare.html"
    with storage_errors(f"{html}: the page cannot be written"):
        html.write_text(page.render(variants, made, found), encoding="utf-8")
    return [*files, html]


def panels(variants: Sequence[Variant]) -> list[plots.Panel]:
    """Learning curves over bytes, time and compute; compute only if a variant knows its cost."""
    longest = max((point.seconds for v in variants for run in v.runs for point in (*run.valid, *run.train)), default=0)
    unit, seconds = ("h", 3600) if longest > 2 * 3600 else ("min", 60) if longest > 2 * 60 else ("s", 1)
    made = [
        plots.Panel("Bytes trained", [_series(v, lambda p: p.bytes) for v in variants]),
        plots.Panel(f"Training time [{unit}]", [_series(v, lambda p: p.seconds / seconds) for v in variants]),
    ]
    priced = [(variant, macs) for variant in variants if (macs := variant.mean("macs_per_byte")) is not None]
    if priced:
        compute = [_series(variant, _compute(macs)) for variant, macs in priced]
        made.append(plots.Panel("Compute, forward [MAC]", compute))
    return made


def _compute(macs_per_byte: float) -> Callable[[Point], float]:
    return lambda point: point.bytes * macs_per_byte


def _series(variant: Variant, x: Callable[[Point], float]) -> plots.Series:
    def line(points: Sequence[Point]) -> list[tuple[float, float]]:
        return [(x(point), point.bpc) for point in points]

    return plots.Series(
        name=variant.name,
        mean=line(variant.mean_curve()),
        runs=[line(run.valid) for run in variant.runs],
        train=[line(thin(run.train, MOST_TRAIN_POINTS)) for run in variant.runs],
    )

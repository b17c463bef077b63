"""`rnnlab compare`: what runs reached, what it cost, and in what their configurations differ.

Configurations are compared as the text that the runs hold, so that a run can be read where its parts are not installed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rnnlab.errors import ConfigError
from rnnlab.storage.durable import storage_errors
from rnnlab.views import difficulties, page, plots, tables
from rnnlab.views.columns import DIFFERS_IN, cost_columns, figures, run_columns, tasks_of, variant_columns
from rnnlab.views.copies import without_copies
from rnnlab.views.difficulties import TaskTest
from rnnlab.views.learning_panels import curve_panels
from rnnlab.views.learning_plots import learning_curves
from rnnlab.views.matrix import matrix_table
from rnnlab.views.naming import with_names
from rnnlab.views.runs import Run, differing, find_runs, protocol_notes, read_run
from rnnlab.views.studies import StudyReport, read_study, study_folders
from rnnlab.views.tables import Cell, Column, Table
from rnnlab.views.task_matrix import task_matrix
from rnnlab.views.task_plots import accuracy_by_difficulty
from rnnlab.views.told import files_of_cells, told_runs
from rnnlab.views.variants import Variant, deviations, group_by_seed


@dataclass(frozen=True)
class Comparison:
    """What `compare` found."""

    runs: Sequence[Run]  # in the order given, without copies
    variants: Sequence[Variant]  # the same runs, grouped by seed
    differences: dict[str, list[str | None]]  # keys whose values differ: value per variant (None: not bound)
    tables: Sequence[Table]  # of variants if there are several seeds, of the runs, and of tests of tasks by difficulty
    studies: Sequence[StudyReport]  # what the studies among the folders say of themselves
    files: Sequence[Path]  # what was written

    @property
    def text(self) -> str:
        """The tables for a terminal."""
        return "\n".join(tables.to_text(table) for table in self.tables)


def compare(paths: Sequence[Path], out: Path | None = None) -> Comparison:
    """Compare runs, or all runs of a study. A run is its configuration and its seed: copies of one count once.

    Args:
        paths: run folders, or folders with runs below them; finished or not. In place of runs that are elsewhere, the
            `cells.jsonl` of their study, or a folder with such files.
        out: where to write `compare.html`, `curves.{png,svg}`, and `runs.*` (with several seeds also `variants.*`) as
            text, Markdown, CSV, LaTeX and JSON; of tasks also `by_length.*` (or `by_pairs.*`, ...), tables and picture,
            and of several tasks `matrix.*`; None for nowhere.
    Raises: ConfigError without a path; StorageError naming a folder without runs, a damaged file, or an `out` that
        cannot be written.
    """
    if not paths:
        raise ConfigError("nothing to compare: name runs or studies")
    below = {path: [] if path.is_file() else find_runs(path, or_none=bool(files_of_cells(path))) for path in paths}
    folders = list(dict.fromkeys(run.resolve() for found in below.values() for run in found))
    told = list(dict.fromkeys(file.resolve() for path in paths if not below[path] for file in files_of_cells(path)))
    read = [read_run(folder, folder.name) for folder in folders]
    runs, copies = without_copies(with_names([*read, *told_runs(told, read)]))
    variants = group_by_seed(runs)
    found = _differing(variants)
    tests = difficulties.task_tests({variant.name: [run.facts for run in variant.done] for variant in variants})
    studies = _studies(below)
    made = _tables(variants, found, copies) | {
        stem: test.table() for stem, test in zip(difficulties.stems(tests), tests, strict=True)
    }
    if len(tests) > 1:
        made["matrix"] = matrix_table(tests)
    files = [] if out is None else _write(variants, tests, made, found, studies, out)
    return Comparison(runs, variants, found, list(made.values()), studies, files)


def _studies(below: Mapping[Path, Sequence[Path]]) -> list[StudyReport]:
    folders = dict.fromkeys(folder for path, runs in below.items() for folder in study_folders(path, runs))
    apart = {folder.resolve(): folder for folder in folders}.values()
    every = list(dict.fromkeys(run for runs in below.values() for run in runs))
    return [read_study(folder, [run for run in every if folder in run.parents]) for folder in apart]


def _tables(variants: Sequence[Variant], found: dict[str, list[str | None]], copies: Sequence[str]) -> dict[str, Table]:
    """By what their files are called."""
    runs = [run for variant in variants for run in variant.runs]
    costs, notes = cost_columns(runs), [*_notes(runs), *copies]
    bindings = _deviations(variants, found)
    if len(variants) == len(runs):
        rows = [{**_run_row(run), "bindings": bindings[i]} for i, run in enumerate(runs)]
        return {"runs": Table(_count(len(runs), "run"), [*run_columns(runs), *costs, DIFFERS_IN], rows, notes)}
    means = ["Means over the seeds that are done; ± is half the 95% confidence interval (Student t).", *notes]
    variant_rows = [{**_variant_row(variant), "bindings": bindings[i]} for i, variant in enumerate(variants)]
    run_rows = [{**_run_row(run), "variant": variant.name} for variant in variants for run in variant.runs]
    of_variants = [*variant_columns(runs), *costs, DIFFERS_IN]
    of_runs = [*run_columns(runs), Column("variant", "Variant"), *costs]
    return {
        "variants": Table(_count(len(variants), "variant"), of_variants, variant_rows, means),
        "runs": Table(_count(len(runs), "run"), of_runs, run_rows, notes),
    }


def _differing(variants: Sequence[Variant]) -> dict[str, list[str | None]]:
    """Of variants whose configurations are elsewhere nothing is known."""
    found = differing([variant.runs[0].bindings for variant in variants if variant.runs[0].deltas is None])
    rows = {key: iter(values) for key, values in found.items()}
    return {
        key: [next(row) if variant.runs[0].deltas is None else None for variant in variants]
        for key, row in rows.items()
    }


def _deviations(variants: Sequence[Variant], found: dict[str, list[str | None]]) -> list[tuple[str, ...]]:
    """Of each variant; of one whose configuration is elsewhere what its study says."""
    here = [index for index, variant in enumerate(variants) if variant.runs[0].deltas is None]
    known = {key: [values[index] for index in here] for key, values in found.items()}
    own = {index: deviations(known, place) for place, index in enumerate(here)}
    return [own[index] if index in own else variant.runs[0].deltas or () for index, variant in enumerate(variants)]


def _notes(runs: Sequence[Run]) -> list[str]:
    notes, tasks = protocol_notes([run.facts for run in runs]), tasks_of(runs)
    if "" in tasks and len(tasks) > 1:
        notes.append("Bytes of a run on a task are positions.")
    return notes


def _run_row(run: Run) -> dict[str, Cell]:
    reached = {column.key: run.number(column.key) for column in (*run_columns([run]), *cost_columns([run]))}
    return {**reached, "run": run.name, "task": run.task or None, "status": run.status, "seed": run.seed}


def _variant_row(variant: Variant) -> dict[str, Cell]:
    done, every = len(variant.done), len(variant.runs)
    reached = figures(variant.runs)
    return {
        "variant": variant.name,
        "task": variant.runs[0].task or None,
        "seeds": str(every) if done == every else f"{done} of {every}",
        **{key: variant.mean(key) if key == "chance" else variant.interval(key) for key in reached},
        **{column.key: variant.mean(column.key) for column in cost_columns(variant.runs)},
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _write(
    variants: Sequence[Variant],
    tests: Sequence[TaskTest],
    made: Mapping[str, Table],
    found: dict[str, list[str | None]],
    studies: Sequence[StudyReport],
    out: Path,
) -> list[Path]:
    files = [path for stem, table in made.items() for path in tables.write(table, out, stem)]
    for stem, (word, panels) in curve_panels(variants).items():
        files += plots.drawn(partial(learning_curves, panels, word), out, stem)
    for stem, test in zip(difficulties.stems(tests), tests, strict=True):
        files += plots.drawn(partial(accuracy_by_difficulty, test), out, stem)
    if len(tests) > 1:
        files += plots.drawn(lambda: task_matrix(tests), out, "matrix")
    html = out / "compare.html"
    with storage_errors(f"{html}: the page cannot be written"):
        html.write_text(page.render(variants, list(made.values()), found, studies), encoding="utf-8")
    return [*files, html]

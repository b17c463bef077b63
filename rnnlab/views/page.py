"""The page of a comparison: one file that opens offline, with its data inside `compare.html`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnlab.safe_text import printable
from rnnlab.views import plots
from rnnlab.views.curves import Point
from rnnlab.views.intervals import Interval
from rnnlab.views.learning_plots import LABELS
from rnnlab.views.metrics import Word
from rnnlab.views.studies import StudyReport
from rnnlab.views.tables import Cell, Column, Table, shown_cell
from rnnlab.views.task_rows import rows_of
from rnnlab.views.variants import MOST_TRAIN_POINTS, Variant, thin

TEMPLATE = Path(__file__).with_name("compare.html")
SLOT = "{{data}}"
MOST_VALID_POINTS = 300  # a curve on a screen shows no more


def render(
    variants: Sequence[Variant],
    found: Sequence[Table],
    differences: Mapping[str, Sequence[str | None]],
    studies: Sequence[StudyReport] = (),
) -> str:
    """The HTML page: what studies say of themselves, curves of the variants, tables, and the bindings that differ."""
    data = {
        "studies": [_study(study) for study in studies],
        "palette": plots.PALETTE,
        "dashes": plots.DASHES,
        "words": _words(variants),
        "variants": [_variant(*each) for each in zip(variants, _colors(variants), strict=True)],
        "tables": [_table(table) for table in found],
        "differences": [{"key": printable(key), "values": list(map(_value, row))} for key, row in differences.items()],
    }
    # ASCII only, and no "<": nothing in the data can end the script element that holds it
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    template = TEMPLATE.read_text(encoding="utf-8")
    assert template.count(SLOT) == 1, "the page has one place for its data"
    return template.replace(SLOT, text)


def _study(study: StudyReport) -> dict[str, Any]:
    return {
        "name": printable(study.name),
        "notes": [printable(note) for note in study.notes],
        "tables": [_table(table) for table in study.tables],
        "opening": study.opening,
        "pictures": [{"title": printable(picture.title), "svg": picture.base64} for picture in study.pictures],
    }


def _colors(variants: Sequence[Variant]) -> list[int]:
    """A number a variant; one of several tasks has one number in all of them."""
    if len({variant.task for variant in variants}) < 2:
        return list(range(len(variants)))
    rows: dict[str, str] = {}
    for task in dict.fromkeys(variant.task for variant in variants):
        own = {variant.name: variant.runs[0].facts for variant in variants if variant.task == task}
        rows |= {name: row for row, name in rows_of(task, own).items()}
    numbers = {row: number for number, row in enumerate(dict.fromkeys(rows.values()))}
    return [numbers[rows[variant.name]] for variant in variants]


def _variant(variant: Variant, color: int) -> dict[str, Any]:
    words = list(dict.fromkeys(word for run in variant.runs for word in run.curves))
    return {
        "name": printable(variant.name),
        "task": printable(variant.task),
        "color": color,
        "macs": variant.mean("macs_per_byte"),
        "chance": variant.mean("valid_chance"),
        "runs": [printable(run.name) for run in variant.runs],
        "curves": {word: _curves(variant, word) for word in words},
    }


def _curves(variant: Variant, word: Word) -> dict[str, Any]:
    return {
        "mean": _points(variant.mean_curve(word), MOST_VALID_POINTS),
        "runs": [
            {"valid": _points(one.valid, MOST_VALID_POINTS), "train": _points(one.train, MOST_TRAIN_POINTS)}
            for one in variant.curves(word)
        ],
    }


def _words(variants: Sequence[Variant]) -> list[dict[str, Any]]:
    """What curves can be drawn of, with what the page calls it."""
    words = list(dict.fromkeys(word for variant in variants for run in variant.runs for word in run.curves)) or ["BPC"]
    return [{"word": word, "label": LABELS[word], "higher": word == "accuracy"} for word in words]


def _points(points: Sequence[Point], most: int) -> list[list[float]]:
    return [[point.bytes, round(point.seconds, 3), round(point.value, 5)] for point in thin(points, most)]


def _table(table: Table) -> dict[str, Any]:
    columns = table.visible()  # the bindings have a section of their own
    return {
        "title": printable(table.title),
        "notes": [printable(note) for note in table.notes],
        "columns": [
            {"heading": printable(column.heading), "kind": column.kind, "key": column.key, "better": column.better}
            for column in columns
        ],
        "rows": [[_cell(column, row) for column in columns] for row in table.rows],
    }


def _cell(column: Column, row: Mapping[str, Cell]) -> dict[str, Any]:
    """What is shown, and what it is sorted by."""
    cell = row.get(column.key)
    order = cell.mean if isinstance(cell, Interval) else printable(cell) if isinstance(cell, str) else cell
    return {"text": shown_cell(column, row), "sort": order}


def _value(value: str | None) -> str | None:
    return None if value is None else printable(value)

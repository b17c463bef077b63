"""The page of a comparison: one file that opens offline, with its data inside `compare.html`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnlab.safe_text import printable
from rnnlab.views import plots
from rnnlab.views.intervals import Interval
from rnnlab.views.runs import Point
from rnnlab.views.tables import Cell, Column, Table
from rnnlab.views.variants import MOST_TRAIN_POINTS, Variant, thin

TEMPLATE = Path(__file__).with_name("compare.html")
SLOT = "{{data}}"
MOST_VALID_POINTS = 300  # a curve on a screen shows no more


def render(variants: Sequence[Variant], found: Sequence[Table], differences: Mapping[str, Sequence[str | None]]) -> str:
    """The HTML page: curves of the variants, tables, and the bindings that differ."""
    data = {
        "palette": plots.PALETTE,
        "dashes": plots.DASHES,
        "variants": [_variant(variant) for variant in variants],
        "tables": [_table(table) for table in found],
        "differences": [{"key": printable(key), "values": list(map(_value, row))} for key, row in differences.items()],
    }
    # ASCII only, and no "<": nothing in the data can end the script element that holds it
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    template = TEMPLATE.read_text(encoding="utf-8")
    assert template.count(SLOT) == 1, "the page has one place for its data"
    return template.replace(SLOT, text)


def _variant(variant: Variant) -> dict[str, Any]:
    return {
        "name": printable(variant.name),
        "macs": variant.mean("macs_per_byte"),
        "mean": _points(variant.mean_curve(), MOST_VALID_POINTS),
        "runs": [
            {
                "name": printable(run.name),
                "valid": _points(run.valid, MOST_VALID_POINTS),
                "train": _points(run.train, MOST_TRAIN_POINTS),
            }
            for run in variant.runs
        ],
    }


def _points(points: Sequence[Point], most: int) -> list[list[float]]:
    return [[point.bytes, round(point.seconds, 3), round(point.bpc, 5)] for point in thin(points, most)]


def _table(table: Table) -> dict[str, Any]:
    columns = table.visible()  # the bindings have a section of their own
    return {
        "title": printable(table.title),
        "notes": [printable(note) for note in table.notes],
        "columns": [{"heading": column.heading, "kind": column.kind, "key": column.key} for column in columns],
        "rows": [[_cell(column, row.get(column.key)) for column in columns] for row in table.rows],
    }


def _cell(column: Column, cell: Cell) -> dict[str, Any]:
    """What is shown, and what it is sorted by."""
    if cell is None:
        return {"text": "", "sort": None}
    order = cell.mean if isinstance(cell, Interval) else printable(cell) if isinstance(cell, str) else cell
    return {"text": printable(column.show(cell)), "sort": order}


def _value(value: str | None) -> str | None:
    return None if value is None else printable(value)

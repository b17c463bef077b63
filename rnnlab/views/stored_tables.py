"""Tables read back from the JSON that `rnnlab.views.tables` writes: cells as they were, and how each kind reads.

The file says what the cells hold and not how many digits they have. Well-known columns read as in the other tables.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnlab.views import numerals
from rnnlab.views.intervals import Interval
from rnnlab.views.metrics import METRICS, number
from rnnlab.views.tables import Cell, Column, Kind, Table

BINDINGS = "bindings"  # what a row differs in: beneath it in a text, and in a section of its own on a page
SHOWN: dict[str, Callable[[Any], str]] = {
    "chance": numerals.decimal(3),
    "parameters": numerals.engineering,
    "macs_per_byte": numerals.engineering,
    "state_floats": numerals.engineering,
    "bytes_per_second": numerals.engineering,
    "bytes_trained": numerals.engineering,
    "peak_memory_mb": numerals.grouped,
    "seconds": numerals.duration,
    "largest": numerals.engineering,
    "miss": lambda miss: f"{miss:+.3f}",
    **dict.fromkeys(("seed", "seeds", "trial"), str),
}
"""By the key of a column."""


def read_table(path: Path) -> Table | None:
    """The table in a JSON file; None if there is none in it, or nothing that can be read."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or not isinstance(told.get("title"), str):
        return None
    columns, rows, notes = (
        _all(told.get(name, []), kind) for name, kind in (("columns", dict), ("rows", dict), ("notes", str))
    )
    if columns is None or rows is None or notes is None:
        return None
    if not columns or not all(isinstance(column.get("key"), str) for column in columns):
        return None
    cells = [{column["key"]: _cell(column["key"], row.get(column["key"])) for column in columns} for row in rows]
    return Table(told["title"], [_column(column, cells) for column in columns], cells, notes)


def _all(values: Any, kind: type) -> list[Any] | None:
    """The values if they are a list of this kind."""
    return values if isinstance(values, list) and all(isinstance(value, kind) for value in values) else None


def _cell(key: str, value: Any) -> Cell:
    if isinstance(value, Mapping):
        return _interval(value)
    if isinstance(value, list):
        entries = tuple(str(entry) for entry in value)
        return entries if key == BINDINGS else "; ".join(entries) or None
    return value if isinstance(value, str | bool) else number(value)


def _interval(told: Mapping[str, Any]) -> Interval | None:
    mean, low, high = (number(told.get(key)) for key in ("mean", "low", "high"))
    count = told.get("count")
    return None if mean is None else Interval(mean, low, high, count if isinstance(count, int) else 0)


def _column(told: Mapping[str, Any], rows: Sequence[Mapping[str, Cell]]) -> Column:
    key = told["key"]
    title, unit = (str(told.get(name) or "") for name in ("title", "unit"))
    cells = [cell for row in rows if (cell := row[key]) is not None]
    kind = _kind(cells)
    marked_by = told.get("marked_by")
    return Column(
        key, title or key, kind, _show(key, title, kind), unit,
        marked_by=marked_by if isinstance(marked_by, str) else "", is_shown=told.get("is_shown") is not False,
    )  # fmt: skip


def _kind(cells: Sequence[Cell]) -> Kind:
    if any(isinstance(cell, tuple) for cell in cells):
        return "code"
    if cells and all(isinstance(cell, Interval) for cell in cells):
        return "interval"
    are_numbers = all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells)
    return "number" if cells and are_numbers else "text"


def _show(key: str, title: str, kind: Kind) -> Callable[[Any], str]:
    if kind == "text":
        return _any
    if kind == "interval":
        return numerals.plus_minus(3, signed=title.startswith("Δ") or "difference" in key)
    if key == "p" or key.startswith("p_"):
        return numerals.probability
    if key.partition("@")[0] in METRICS:
        return numerals.decimal(4)
    return SHOWN.get(key, _figures)


def _figures(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) and float(value).is_integer() else f"{value:.4g}"


def _any(cell: Cell) -> str:
    """Of a column that holds several kinds."""
    if isinstance(cell, Interval):
        return numerals.plus_minus(3)(cell)
    if isinstance(cell, bool):
        return str(cell).lower()
    return _figures(cell) if isinstance(cell, int | float) else str(cell)

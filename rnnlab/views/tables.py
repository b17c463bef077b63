r"""One table, five ways to write it: terminal text, Markdown, CSV, LaTeX and JSON.

Text, Markdown and LaTeX are for reading: cells are rounded, columns that are empty throughout are left out, and what
a row lists in a "code" column stands on lines of its own beneath it. CSV and JSON are for programs: full precision and
always the same columns. What the cells hold is not trusted: every writer escapes for its own format.
"""

import csv
import io
import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rnnlab.safe_text import printable
from rnnlab.storage.durable import storage_errors
from rnnlab.views.intervals import Interval

Cell: TypeAlias = str | int | float | Interval | tuple[str, ...] | None
Kind: TypeAlias = Literal["text", "number", "interval", "code"]
Better: TypeAlias = Literal["", "lower", "higher"]
DAGGER = "†"


@dataclass(frozen=True)
class Column:
    """One column."""

    key: str  # its name for programs; an interval also gives `<key>_low` and `<key>_high`
    title: str  # its heading for readers
    kind: Kind = "text"  # what its cells hold: str, int or float, Interval, or a tuple of strings
    show: Callable[[Any], str] = str  # how a cell that is not None reads
    unit: str = ""  # of its numbers, for the heading; empty if the number says it
    better: Better = ""  # which of its numbers is the best; empty if that means nothing
    marked_by: str = ""  # key of a cell: where that is true, a dagger stands behind this one for a reader
    is_shown: bool = True  # to a reader; programs have every column

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title} [{self.unit}]" if self.unit else self.title


@dataclass(frozen=True)
class Table:
    """Columns, rows by column key (a missing key is an empty cell), and what a reader must know beside them."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Cell]]
    notes: Sequence[str] = ()

    def visible(self) -> list[Column]:
        """Columns that stand side by side for a reader: not "code", and not empty in every row."""
        shown = [column for column in self.columns if column.kind != "code" and column.is_shown]
        return [column for column in shown if any(row.get(column.key) is not None for row in self.rows)]

    def beneath(self, row: Mapping[str, Cell]) -> list[str]:
        """What a reader finds beneath a row: the entries of its "code" columns."""
        cells = (row.get(column.key) for column in self.columns if column.kind == "code")
        return [entry for cell in cells if isinstance(cell, tuple) for entry in cell]


def shown_cell(column: Column, row: Mapping[str, Cell]) -> str:
    """What a reader sees of a cell, with its mark; empty where there is none."""
    cell = row.get(column.key)
    if cell is None:
        return ""
    mark = f" {DAGGER}" if column.marked_by and row.get(column.marked_by) else ""
    return printable(column.show(cell)) + mark


def to_text(table: Table) -> str:
    """For a terminal: aligned columns, entries of "code" columns beneath their row, notes at the end."""
    columns = table.visible()
    body = [[shown_cell(column, row) for column in columns] for row in table.rows]
    cells = [[column.heading for column in columns], *body]
    widths = [max(_width(line[i]) for line in cells) for i in range(len(columns))]
    lines = [printable(table.title), "", _text_row(cells[0], columns, widths), "  ".join("─" * w for w in widths)]
    for row, line in zip(table.rows, body, strict=True):
        lines.append(_text_row(line, columns, widths))
        lines += [f"    {printable(entry)}" for entry in table.beneath(row)]
    if table.notes:
        lines += ["", *(printable(note) for note in table.notes)]
    return "\n".join(lines) + "\n"


def _text_row(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    padded = []
    for cell, column, width in zip(cells, columns, widths, strict=True):
        gap = " " * (width - _width(cell))
        padded.append(cell + gap if column.kind == "text" else gap + cell)
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Columns that a terminal gives it: wide characters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in printable(text)
    )


def to_markdown(table: Table) -> str:
    """A GitHub table; entries of "code" columns share one last column."""
    columns = table.visible()
    beneath = [table.beneath(row) for row in table.rows]
    headings = [_markdown(column.heading) for column in columns]
    rules = [":---" if column.kind == "text" else "---:" for column in columns]
    body = [[_markdown(shown_cell(column, row)) for column in columns] for row in table.rows]
    if any(beneath):
        headings.append(_markdown(next(column.heading for column in table.columns if column.kind == "code")))
        rules.append(":---")
        for line, entries in zip(body, beneath, strict=True):
            line.append("<br>".join(_markdown_code(entry) for entry in entries))
    lines = [f"**{_markdown(table.title)}**", ""] if table.title else []
    lines += [f"| {' | '.join(line)} |" for line in (headings, rules, *body)]
    for note in table.notes:
        lines += ["", _markdown(note)]
    return "\n".join(lines) + "\n"


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]|~#@])", r"\\\1", printable(text)).replace("&", "&amp;").replace("<", "&lt;")


def _markdown_code(text: str) -> str:
    clean = printable(text).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", clean)), default=0))
    space = " " if clean.startswith("`") or clean.endswith("`") else ""
    return f"{fence}{space}{clean}{space}{fence}"


def to_csv(table: Table) -> str:
    """RFC 4180 with a heading line of column keys; a text that a spreadsheet would run as a formula gets a quote."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([key for column in table.columns for key in _flat_keys(column)])
    for row in table.rows:
        writer.writerow([cell for column in table.columns for cell in _flat_cells(column, row.get(column.key))])
    return out.getvalue()


def _flat_keys(column: Column) -> list[str]:
    return [column.key, f"{column.key}_low", f"{column.key}_high"] if column.kind == "interval" else [column.key]


def _flat_cells(column: Column, cell: Cell) -> list[str | float | None]:
    """The csv module writes numbers in full and nothing for None."""
    if column.kind == "interval":
        assert cell is None or isinstance(cell, Interval), f"{column.key} holds {cell!r}"
        return [None, None, None] if cell is None else [cell.mean, cell.low, cell.high]
    if cell is None or isinstance(cell, int | float):
        return [cell]
    text = printable("; ".join(cell) if isinstance(cell, tuple) else str(cell))
    return ["'" + text if text[:1] in ("=", "+", "-", "@") else text]


def to_latex(table: Table) -> str:
    r"""A booktabs tabular; entries of "code" columns stand beneath their row, notes beneath the table."""
    columns = table.visible()
    alignment = "".join("l" if column.kind == "text" else "r" for column in columns)
    lines = [f"% {printable(table.title)}", r"% needs \usepackage{booktabs}"]
    lines += [rf"\begin{{tabular}}{{@{{}}{alignment}@{{}}}}", r"\toprule"]
    lines += [" & ".join(_latex(column.heading) for column in columns) + r" \\", r"\midrule"]
    for row in table.rows:
        lines.append(" & ".join(_latex_cell(column, row) for column in columns) + r" \\")
        for entry in map(_latex, table.beneath(row)):
            lines.append(rf"\multicolumn{{{len(columns)}}}{{@{{}}l@{{}}}}{{\quad\footnotesize\texttt{{{entry}}}}} \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip{{\footnotesize {_latex(note)}}}" for note in table.notes]
    return "\n".join(lines) + "\n"


def _latex_cell(column: Column, row: Mapping[str, Cell]) -> str:
    text = _latex(shown_cell(column, row))
    return text if column.kind == "text" else re.sub(r"^([-+])", r"$\1$", text)  # a sign, not a hyphen


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': '{"}',
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "→": r"$\to$",
    "†": r"$\dagger$",
    "×": r"$\times$",
    "\N{REPLACEMENT CHARACTER}": "?",
    **{c: "\\" + c for c in "&%$#_{}"},
}


def _latex(text: str) -> str:
    escaped = "".join(_LATEX.get(c, c) for c in printable(text))
    escaped = re.sub("-(?=-)", "-{}", escaped)  # --set, not a dash
    return "{}" + escaped if escaped.startswith(("[", "*")) else escaped  # or the \\\\ before it would take it


def to_json(table: Table) -> str:
    """{"title", "columns": [{"key", "title", "unit"}], "rows": [{key: cell}], "notes"}; not finite is null.

    A column that is not for a reader has "is_shown": false; one whose cells another marks has its key as "marked_by".
    """
    answer = {
        "title": table.title,
        "columns": [_told(column) for column in table.columns],
        "rows": [{column.key: _plain(row.get(column.key)) for column in table.columns} for row in table.rows],
        "notes": list(table.notes),
    }
    return json.dumps(answer, indent=2, allow_nan=False) + "\n"


def _told(column: Column) -> dict[str, Any]:
    told: dict[str, Any] = {"key": column.key, "title": column.title, "unit": column.unit}
    if column.marked_by:
        told["marked_by"] = column.marked_by
    return told if column.is_shown else {**told, "is_shown": False}


def _plain(cell: Cell) -> Any:
    if isinstance(cell, Interval):
        return {"mean": cell.mean, "low": cell.low, "high": cell.high, "count": cell.count}
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    return list(cell) if isinstance(cell, tuple) else cell


WRITERS: dict[str, Callable[[Table], str]] = {
    ".txt": to_text,
    ".md": to_markdown,
    ".csv": to_csv,
    ".tex": to_latex,
    ".json": to_json,
}


def write(table: Table, folder: Path, stem: str) -> list[Path]:
    """Write the table in all five formats as `folder/stem.*`. Returns: the paths. Raises: StorageError."""
    writers = {folder / f"{stem}{suffix}": writer for suffix, writer in WRITERS.items()}
    with storage_errors(f"{folder}: the table cannot be written"):
        folder.mkdir(parents=True, exist_ok=True)
        for path, writer in writers.items():
            path.write_text(writer(table), encoding="utf-8")
    return list(writers)

"""One table in five formats, and cells that try to break out of each of them."""

import csv
import io
import json
import math
import re

import pytest

from rnnlab.views import numerals, tables
from rnnlab.views.intervals import Interval
from rnnlab.views.tables import Column, Table
from tests.latex import LatexError, check

HOSTILE = [
    "plain",
    "a|b",
    "<script>alert(1)</script>",
    "50% & $10 #1 _x_ {y} ~z^ \\end{tabular}",
    "=HYPERLINK(1)",
    "line\nbreak, \"quote\" 'single' `tick`",
    "\x1b[31mred\x1b[0m\u202eevil",
    "\udcff",
    "日本",
    "[2cm] *star --set",
]


def table(names: list[str]) -> Table:
    columns = [
        Column("name", "Name"),
        Column("bpc", "BPC", "interval", numerals.plus_minus(3)),
        Column("parameters", "Parameters", "number", numerals.engineering),
        Column("memory", "Peak memory", "number", numerals.grouped, unit="MB"),
        Column("empty", "Empty", "number"),
        Column("bindings", "Differs in", "code"),
    ]
    rows: list[dict[str, tables.Cell]] = [
        {
            "name": name,
            "bpc": Interval(2.5 + i, 2.4, 2.6, 3),
            "parameters": 1000 * i,
            "memory": 12.5,
            "bindings": (name,),
        }
        for i, name in enumerate(names)
    ]
    return Table("A title", columns, rows, ["A note."])


def test_text_is_aligned_and_puts_bindings_beneath_their_row() -> None:
    lines = tables.to_text(table(["a", "日本"])).splitlines()
    assert lines[2] == "Name            BPC  Parameters  Peak memory [MB]"
    assert lines[4] == "a     2.500 ± 0.100           0                12"
    assert lines[5] == "    a"
    assert lines[6] == "日本  3.500 ± 0.100       1.00k                12"
    assert lines[-1] == "A note."


def test_no_control_character_reaches_the_terminal() -> None:
    text = tables.to_text(table(HOSTILE))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert text.encode("utf-8")


def test_markdown_rows_keep_their_number_of_cells() -> None:
    markdown = tables.to_markdown(table(HOSTILE))
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(HOSTILE)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}
    assert "<script" not in re.sub("`[^`]*`", "", markdown)
    assert "| `plain` |" in markdown


def test_csv_reads_back_to_full_precision_and_runs_no_formula() -> None:
    rows = list(csv.reader(io.StringIO(tables.to_csv(table(HOSTILE)))))
    assert rows[0] == ["name", "bpc", "bpc_low", "bpc_high", "parameters", "memory", "empty", "bindings"]
    assert {len(row) for row in rows} == {8}
    assert rows[5][0] == "'=HYPERLINK(1)"
    assert [float(cell) for cell in rows[2][1:4]] == [3.5, 2.4, 2.6]


def test_latex_rows_keep_their_number_of_cells_and_escape_what_latex_obeys() -> None:
    latex = tables.to_latex(table(HOSTILE))
    assert latex.count(r"\end{tabular}") == 1
    rows = latex.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().split(" \\\\\n")
    plain = [row for row in rows if not row.startswith(r"\multicolumn")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in plain} == {3}
    assert not re.search(r"\\\\\s*[\[*]", latex), "a row that begins with a bracket would be read as a length"
    assert not re.search(r"(?<!\\)[%#]", latex.split("tabular}", 2)[1])
    assert latex.count("{") == latex.count("}")


def test_latex_holds_against_a_strict_reader_and_gives_back_as_many_cells() -> None:
    rows = check(tables.to_latex(table(HOSTILE)))
    assert len(rows) == 1 + 2 * len(HOSTILE)
    assert rows[1] == ["plain", r"2.500 $\pm$ 0.100", "0", "12"]


@pytest.mark.parametrize(
    "broken",
    [
        r"a & b & c \\", r"a & b_1 \\", r"a & $b \\", r"a & {b \\", r"a & b} \\", r"a & 5% \\", r"a & \oops \\",
        "a & b \\\\\n[2cm] & d \\\\", r"a & \pm 1 \\", r"\multicolumn{3}{l}{a} \\",
    ],
)  # fmt: skip
def test_the_strict_reader_refuses_what_latex_would_not_take(broken: str) -> None:
    def document(rows: str) -> str:
        return f"\\begin{{tabular}}{{@{{}}lr@{{}}}}\n{rows}\n\\end{{tabular}}\n"

    assert check(document(r"a & $-$1 \\")) == [["a", "$-$1"]]
    with pytest.raises(LatexError):
        check(document(broken))


def test_a_dagger_stands_behind_what_a_row_marks_for_readers_alone() -> None:
    columns = [
        Column("name", "Name", marked_by="odd"),
        Column("p", "p", "number", numerals.probability, marked_by="odd"),
        Column("odd", "Odd", is_shown=False),
    ]
    marked = Table("t", columns, [{"name": "a", "p": 0.01, "odd": True}, {"name": "b", "p": 0.02, "odd": False}])
    assert [line.split() for line in tables.to_text(marked).splitlines()[2:3]] == [["Name", "p"]]
    assert "a †   0.010 †" in tables.to_text(marked)
    assert check(tables.to_latex(marked))[1:] == [["a $\\dagger$", "0.010 $\\dagger$"], ["b", "0.020"]]
    assert "| a † | 0.010 † |" in tables.to_markdown(marked)
    assert json.loads(tables.to_json(marked))["rows"][0] == {"name": "a", "p": 0.01, "odd": True}
    assert tables.to_csv(marked).splitlines() == ["name,p,odd", "a,0.01,True", "b,0.02,False"]


def test_latex_writes_a_sign_as_a_sign() -> None:
    column = Column("d", "Δ", "interval", numerals.plus_minus(3, signed=True))
    latex = tables.to_latex(Table("t", [column], [{"d": Interval(-0.1, -0.2, 0.0, 3)}]))
    assert r"$-$0.100 $\pm$ 0.100" in latex
    assert r"$\Delta$" in latex


def test_json_reads_back_with_names_untouched_and_null_for_what_is_not_finite() -> None:
    answer = json.loads(tables.to_json(table(HOSTILE)))
    assert [row["name"] for row in answer["rows"]] == HOSTILE
    assert answer["rows"][0]["bpc"] == {"mean": 2.5, "low": 2.4, "high": 2.6, "count": 3}
    assert answer["columns"][3] == {"key": "memory", "title": "Peak memory", "unit": "MB"}
    column = Column("x", "X", "number")
    assert json.loads(tables.to_json(Table("t", [column], [{"x": math.nan}])))["rows"] == [{"x": None}]

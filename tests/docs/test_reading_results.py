"""The reader's page explains every column that a table of results has, and none that there is not."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rnnlab.studies.ablation.floor import COLUMNS
from rnnlab.studies.ablation.table import TrainedVariant, ablation_table
from rnnlab.views.columns import LEARNED_FROM_WHAT_WAS_SCORED, TASK, TEXT
from rnnlab.views.metrics import METRICS
from rnnlab.views.tables import DAGGER

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reading-results.md").read_text(encoding="utf-8")
EXAMPLE = [line for line in PAGE.splitlines() if re.match(r"(Variant|lstm|qrnn|gru|min_gru|convolution)  ", line)]

ELSEWHERE = {
    "memory_curve.py": "the table of `rnnlab eval --memory`, in docs/studies.md",
    "stored_tables.py": "reads back what the others wrote",
}
WORDS = {
    "sized_by": "(parameters|bytes)",
    "compared.word": "(BPC|nats)",
    "metric.word": "(BPC|accuracy|nats)",
    "metric.title": "(valid|test) (BPC|accuracy|nats)",
    "unit": "(byte|position)",
    "one": "(byte|position)",
    "counted_in(metric)": "(byte|position)",
    "unit.capitalize()": "(Byte|Position)",
    "counted.capitalize()": "(Byte|Position)",
    "counted": "(Bytes|Positions)",
    "one.test.task": "(Parity|Recall)",
    "numerals.grouped(one.difficulty)": r"\d+",
}
"""What stands in the braces of a title."""

METRIC = "Valid BPC"  # "or another metric", says the page
TITLES = {
    ("columns.py", "title"): [METRIC if key in METRICS and "best" not in key else title
                              for key, title in (TEXT | TASK).items()]
    + [re.escape(title) for title in LEARNED_FROM_WHAT_WAS_SCORED.values()],
    ("columns.py", "counted"): [WORDS["counted"]],
    ("difficulties.py", "title"): [r"(Length|Pairs|Distance) \d+"],
    ("floor.py", "*shown"): [title for _, title in COLUMNS.values()],
    ("tuning_table.py", "key.heading"): [METRIC],
    ("report.py", "entry.key"): [],  # a key of the configuration is its own name
}  # fmt: skip
"""Titles that a file keeps under a name, as patterns."""


def columns() -> Iterator[tuple[str, ast.Call]]:
    """(name of the file, call) of every `Column(...)` that a reader may see."""
    for path in [*(ROOT / "rnnlab" / "views").glob("*.py"), *(ROOT / "studies").rglob("*.py")]:
        if path.name in ELSEWHERE:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Column", "tables.Column"):
                hidden = any(key.arg == "is_shown" and ast.unparse(key.value) == "False" for key in node.keywords)
                beneath = any(isinstance(value, ast.Constant) and value.value == "code" for value in node.args[2:])
                if not hidden and not beneath:
                    yield path.name, node


def titles_of(file: str, call: ast.Call) -> list[str]:
    """Patterns of the titles that it may have."""
    title = call.args[0] if isinstance(call.args[0], ast.Starred) else call.args[1]
    if isinstance(title, ast.Constant):
        return [re.escape(str(title.value))]
    if isinstance(title, ast.JoinedStr):
        parts = [
            re.escape(str(part.value)) if isinstance(part, ast.Constant) else WORDS[ast.unparse(part.value)]  # type: ignore[attr-defined]
            for part in title.values
        ]
        return ["".join(parts)]
    return [METRIC] if ast.unparse(title) == "metric.heading" else TITLES[file, ast.unparse(title)]


def explained(heading: str) -> list[str]:
    """What stands in the first column of the page's table with this heading."""
    (body,) = re.findall(rf"^\| {heading} \|.*\n\| --- .*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [line.split("|")[1].strip() for line in body.splitlines()]


def entries() -> list[str]:
    return [
        entry
        for cell in explained("column")
        for entry in re.split(r", (?![^(]*\))", cell)
        if not re.fullmatch(r"\d+|\.+", entry)
    ]


def test_every_column_of_a_table_is_explained() -> None:
    wanted = {(file, title) for file, call in columns() for title in titles_of(file, call) if title}
    missing = [(file, title) for file, title in wanted if not any(re.fullmatch(title, entry) for entry in entries())]
    assert len(wanted) > 30
    assert missing == [], "docs/reading-results.md says nothing of these columns"


def test_nothing_is_explained_that_no_table_has() -> None:
    titles = {title for file, call in columns() for title in titles_of(file, call)}
    unknown = [entry for entry in entries() if not any(re.fullmatch(title, entry) for title in titles)]
    assert unknown == ["or another metric"]


def test_every_mark_and_note_is_one_that_tables_have() -> None:
    *marks, last = explained("mark or note")
    assert DAGGER in marks
    assert last == "the last note"
    folders = (ROOT / "studies" / "ablation", ROOT / "rnnlab" / "views")
    source = "\n".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.glob("*.py"))
    assert [mark for mark in marks if mark not in source] == []


def test_the_example_has_the_columns_that_a_table_has_today() -> None:
    costs = {"parameters": 1, "macs_per_byte": 1, "state_floats": 1, "bytes_per_second": 1.0, "peak_memory_mb": 1.0}
    variants = [
        TrainedVariant(name, {s: {"valid_bpc": at + s * s / 99, "valid_unigram_bpc": 4.5, **costs} for s in range(4)})
        for name, at in (("lstm", 2.0), ("qrnn", 2.5))
    ]
    changed = variants[1].results[0]
    variants[1] = TrainedVariant("qrnn", {**variants[1].results, 0: {**changed, "valid_bpc": 2.4}})
    headings = [column.heading for column in ablation_table(variants, "lstm").visible()]
    assert re.split(r"  +", EXAMPLE[0]) == headings


@pytest.mark.parametrize("line", EXAMPLE[2:], ids=lambda line: line.split()[0])
def test_the_example_adds_up(line: str) -> None:
    """A difference of paired means is the difference of the means, and six comparisons are corrected for."""
    baseline, mean = (float(re.split(r"  +", row)[2].split()[0]) for row in (EXAMPLE[1], line))
    difference = float(re.split(r"  +", line)[4].split()[0])
    assert difference == pytest.approx(mean - baseline, abs=0.0016)
    assert re.split(r"  +", line)[7] in ("0.125", "0.250", "0.375", "0.500"), "of four seeds"

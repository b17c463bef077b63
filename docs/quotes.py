"""`python -m docs.quotes faults.json` puts the fault matrix, as it was run, into docs/faults.md."""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FAULTS = ROOT / "docs" / "faults.md"


def quote_faults(report: Path) -> None:
    """Replace the table of faults by that of a `faults.json`."""
    facts = json.loads(report.read_text(encoding="utf-8"))
    rows = [
        f"| {row['id']} | {row['what']} | {row['tries']} | {row['passed']} | {row['worst']:.1f} |"
        for row in facts["rows"]
    ]
    tries, passed = (sum(row[key] for row in facts["rows"]) for key in ("tries", "passed"))
    told = f"{passed:,} of {tries:,} tries passed, in {facts['seconds']:.0f} s"
    head = ["| row | fault | tries | passed | worst [s] |", "| --- | --- | --: | --: | --: |"]
    table = "\n".join([f"{told}.", "", *head, *rows])
    text = FAULTS.read_text(encoding="utf-8")
    marked = re.compile(r"(<!-- quoted: faults -->\n).*?(<!-- end: faults -->)", re.DOTALL)
    FAULTS.write_text(marked.sub(lambda match: f"{match[1]}{table}\n{match[2]}", text), encoding="utf-8")


if __name__ == "__main__":
    quote_faults(Path(sys.argv[1]))

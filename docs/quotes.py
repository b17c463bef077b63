"""What the README and docs/ show of runs: `python -m docs.quotes faults.json` and `python -m docs.quotes STUDY_FOLDER`.

The first puts the fault matrix into docs/faults.md, the second an ablation's table and plot into docs/images.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
FAULTS = ROOT / "docs" / "faults.md"
IMAGES = ROOT / "docs" / "images"


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


def quote_ablation(study: Path) -> None:
    """Draw `ablation.txt` of a study as `ablation_table.png`, and take over its plot as `ablation_plot.png`."""
    text = (study / "ablation.txt").read_text(encoding="utf-8").rstrip()
    lines = text.splitlines()
    size = (0.075 * max(map(len, lines)) + 0.4, 0.17 * len(lines) + 0.3)  # [inches] that the text takes
    with matplotlib.rc_context({"font.family": "DejaVu Sans Mono", "font.size": 9}):
        figure = Figure(figsize=size)
        figure.text(0.2 / size[0], 1 - 0.15 / size[1], text, va="top", linespacing=1.2)
        figure.savefig(IMAGES / "ablation_table.png", dpi=150)
    shutil.copy(study / "ablation.png", IMAGES / "ablation_plot.png")


if __name__ == "__main__":
    given = Path(sys.argv[1])
    (quote_ablation if given.is_dir() else quote_faults)(given)

"""The fault matrix, a line a row: `python -m tests.faults [--soak] [ROW...]`. Writes faults.json.

--soak takes the counts of a soak test, which is hours; ROW is F1, F2, ...
"""

import argparse
import contextlib
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from tests.faults.matrix import PLACES, ROWS, Matrix, Tally, keyword_of

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", choices=[*ROWS, []], help="default: all of them")
    parser.add_argument("--soak", action="store_true", help="the counts of a soak test")
    parser.add_argument("--workers", default="3", help="processes side by side (default: 3, as many of them wait)")
    options = parser.parse_args()
    rows = options.rows or list(ROWS)
    os.chdir(ROOT)
    if options.soak:
        os.environ["RNNLAB_SOAK"] = "1"  # the tests look it up
    started, matrix = time.monotonic(), Matrix(out=sys.stdout)
    arguments = [place for place in PLACES if Path(place).exists()]
    arguments += ["-n", options.workers, "--dist", "worksteal", "-p", "no:cacheprovider"]
    arguments += ["--timeout", "14400" if options.soak else "600", "-k", " or ".join(map(keyword_of, rows))]
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        pytest.main(arguments, plugins=[matrix])
    seconds = time.monotonic() - started
    for row in rows:
        if row not in matrix.rows:
            print(Tally().line(row))
    report(matrix, rows, seconds, options.soak)
    for failure in matrix.failures:
        print(f"\n{failure}", file=sys.stderr)
    whole = all(row in matrix.rows and matrix.rows[row].passed == matrix.rows[row].tries for row in rows)
    return 0 if whole and not matrix.failures else 1


def report(matrix: Matrix, rows: list[str], seconds: float, soak: bool) -> None:
    found = {row: matrix.rows.get(row, Tally()) for row in rows}
    tries, passed = sum(tally.tries for tally in found.values()), sum(tally.passed for tally in found.values())
    print(f"{passed} of {tries} tries passed in {seconds:.0f} s")
    answer = {
        "soak": soak,
        "seconds": round(seconds, 1),
        "machine": {"cores": os.cpu_count(), "platform": platform.platform(), "torch": torch.__version__},
        "rows": [{"id": row, "what": ROWS[row], **asdict(tally)} for row, tally in found.items()],
    }
    Path("faults.json").write_text(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

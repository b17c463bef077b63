"""The fault matrix: which tests stand for which row, and the tally that `python -m tests.faults` prints."""

import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, TextIO

import pytest

ROWS = {
    "F1": "kill -9 at random moments of training, resumed until done",
    "F2": "death at each sync point of a save",
    "F3": "SIGTERM, SIGINT: at any moment, twice",
    "F4": "truncated checkpoint",
    "F5": "flipped bit in a checkpoint",
    "F6": "foreign checkpoint",
    "F7": "disk full",
    "F8": "unwritable folder",
    "F9": "NaN or inf in input, loss, gradient, optimizer",
    "F10": "spike of the loss",
    "F11": "bad configuration",
    "F12": "bad corpus",
    "F13": "bad download: begun again, nothing half-written is used",
    "F14": "search: worker killed",
    "F15": "search: six workers starting at once",
    "F16": "search: worker stopped past its grace",
    "F17": "search: study resumed",
    "F18": "two trainers, one run folder",
    "F19": "hostile checkpoint",
    "F20": "observers on and off",
    "F21": "other hash seeds, folders, locales",
    "F22": "several devices: a rank dies, signals, ranks come and go",
    "F23": "an exception at each point of a run",
    "F24": "thousands of steps: memory and descriptors",
    "F25": "wheel in a bare environment",
    "F26": "parts that break one law, each caught by that law",
    "F27": "a folder or lock that was removed, moved, replaced or linked",
    "F28": "identity of a worker across containers and hosts",
    "F29": "shared and foreign folders: code and hashes are ours or none",
    "F30": "a text that moved or changed: its hash decides",
    "F31": "a score that is not finite",
    "F32": "plots, glyphs, the commit, progress and streams that fail",
    "F33": "secrets in an address",
    "F34": "signals of terminals and schedulers, a time limit",
    "F35": "a record that is odd but can be read",
    "F36": "work without an end: absurd counts, absent peers, trickles",
    "F37": "a job of a cluster that is killed, or its command",
    "F38": "a node of a cluster that is drained, or set down",
    "F39": "a cluster whose controller is away for a while",
    "F40": "a job of a cluster that meets its time limit",
    "F41": "not enough memory in the middle of a run",
}
FILES = {
    "test_bad_gin.py": "F11",
    "test_corpora.py": "F12",
    "test_downloads.py": "F13",
    "test_ranks.py": "F22",
    "packaging/": "F25",
    "test_the_laws_catch_mutants.py": "F26",
}
"""Rows whose tests are a file or folder of their own; the others say their row in their name: test_f7_..."""

PLACES = [
    "tests/faults",
    "tests/laws/test_the_laws_catch_mutants.py",
    "tests/packaging",
    "tests/rnnlab/training/test_ranks.py",
    "tests/studies/search/test_postgres.py",
]


def row_of(node: str) -> str | None:
    """The row that a test stands for."""
    named = re.search(r"::test_(f\d+)_", node)
    if named:
        return named[1].upper()
    return next((row for place, row in FILES.items() if place in node), None)


def keyword_of(row: str) -> str:
    """What pytest's -k selects the tests of a row by."""
    own = [place.removesuffix("/").removesuffix(".py") for place, of_place in FILES.items() if of_place == row]
    return " or ".join([f"test_{row.lower()}_", *own])


@dataclass
class Tally:
    tries: int = 0
    passed: int = 0
    skipped: int = 0
    worst: float = 0.0  # [s] of a single test, with what it needs set up

    def line(self, row: str) -> str:
        outcome = "ok" if self.tries and self.passed == self.tries else "FAILED" if self.tries else "not run"
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        counts = f"{self.tries:5} tries  {self.passed:5} passed  {self.worst:6.1f} s"
        return f"{row:4} {ROWS[row]:60} {counts}  {outcome}{skipped}"


@dataclass
class Matrix:
    """A plugin of pytest that counts by row, and prints a row when its last test is through."""

    out: TextIO = sys.stdout
    rows: dict[str, Tally] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    _left: Counter[str] = field(default_factory=Counter)
    _seconds: dict[str, float] = field(default_factory=dict)
    _failed: set[str] = field(default_factory=set)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self._left = Counter(row for row in map(row_of, ids) if row)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failures.append(report.longreprtext)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        row = row_of(report.nodeid)
        if row is None:
            return
        tally = self.rows.setdefault(row, Tally())
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self._failed.add(report.nodeid)
            self.failures.append(f"{report.nodeid}\n{report.longreprtext}")
        if report.skipped:
            tally.skipped += 1
        elif report.when == "call":
            tries = dict(report.user_properties).get("tries", 1)
            tally.tries += int(str(tries))
            tally.passed += int(str(tries)) if report.passed else 0
        elif report.failed:
            tally.tries += report.when == "setup"
            tally.passed -= report.when == "teardown" and report.nodeid not in self._failed
        if report.when == "teardown":
            tally.worst = max(tally.worst, self._seconds[report.nodeid])
            self._left[row] -= 1
            if not self._left[row]:
                print(tally.line(row), file=self.out, flush=True)

"""An examination to read, and the same facts for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rnnlab.console import GLYPHS
from rnnlab.doctor.finding import Finding

Findings = Mapping[str, Sequence[Finding]]


def as_text(findings: Findings) -> str:
    """A line a finding under the heading of its group, remedies below, and at the end how much there is to do."""
    every = [finding for group in findings.values() for finding in group]
    width = max((len(finding.name) for finding in every), default=0)
    lines = []
    for heading, group in findings.items():
        lines += [heading, *(line for finding in group for line in _lines(finding, width)), ""]
    return _in_ascii("\n".join([*lines, summary(every)]))


def _lines(finding: Finding, width: int) -> list[str]:
    lines = [f"  {finding.verdict:7}  {finding.name:{width}}  {finding.detail}".rstrip()]
    return [*lines, f"  {'':7}  {'':{width}}  -> {finding.remedy}"] if finding.remedy else lines


def summary(findings: Sequence[Finding]) -> str:
    """How much there is to do, in a line."""
    bad = sum(finding.verdict == "bad" for finding in findings)
    warnings = sum(finding.verdict == "warning" for finding in findings)
    if not bad + warnings:
        return "Nothing to do."
    parts = [*([f"{bad} bad"] if bad else []), *([_counted(warnings, "warning")] if warnings else [])]
    return f"{_counted(bad + warnings, 'thing')} to do: {', '.join(parts)}."


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"


def as_json(findings: Findings) -> dict[str, Any]:
    """The same facts under "findings", each with "group", "name", "verdict", "detail" and "remedy", and two counts."""
    rows = [{"group": heading, **asdict(finding)} for heading, group in findings.items() for finding in group]
    verdicts = [row["verdict"] for row in rows]
    return {"findings": rows, "bad": verdicts.count("bad"), "warnings": verdicts.count("warning")}


def _in_ascii(text: str) -> str:
    return text.translate(GLYPHS).encode("ascii", "backslashreplace").decode()

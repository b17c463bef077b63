"""The listing of parts: complete, costed, and with its sources."""

import re
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from rnnlab import registry
from rnnlab.catalog import catalog, catalog_text
from rnnlab.errors import ConfigError
from rnnlab.interfaces import KINDS


def test_every_part_is_listed_under_its_kind() -> None:
    assert [entry["selector"] for entry in catalog()] == [part.selector for part in registry.parts()]
    for kind in KINDS:
        assert {entry["kind"] for entry in catalog(kind)} <= {kind}
        assert catalog(kind), kind


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'cores'.*core"):
        catalog("cores")


@cache
def entries() -> dict[str, dict[str, Any]]:
    return {entry["selector"]: entry for entry in catalog()}


@pytest.mark.parametrize("selector", [part.selector for part in registry.parts() if part.distribution == "rnnlab"])
def test_every_part_says_what_it_is(selector: str) -> None:
    entry = entries()[selector]
    assert entry["summary"].endswith(".")
    if entry["kind"] in ("core", "attention", "feedforward", "block", "optimizer"):
        assert re.search(r"\d{4}", entry["source"]), "a year at least"


@pytest.mark.parametrize(
    ("selector", "parameters", "macs", "state"),
    [
        ("core.LSTM", 8_396_800, 8 * 1024**2, 2 * 1024),
        ("core.QRNN", 3_148_800, 3 * 1024**2, 1024),
        ("feedforward.Boom", 1024 * 4096 + 4096, 1024 * 4096, 0),
        ("feedforward.Standard", 2 * 1024 * 4096 + 4096 + 1024, 2 * 1024 * 4096, 0),
        # W_q, LN_q, three gates, the over-parameterised gate; the query's projection and 1,024 positions read twice
        (
            "attention.SingleHead",
            1024**2 + 1024 + 2048 + 3072 + 2 * 1024**2 + 2048,
            1024**2 + 2 * 1024 * 1024,
            1023 * 1024,
        ),
    ],
)
def test_costs_at_the_papers_width_are_those_of_the_literature(
    selector: str, parameters: int, macs: int, state: int
) -> None:
    (entry,) = [entry for entry in catalog() if entry["selector"] == selector]
    assert (entry["parameters"], entry["macs"], entry["state"], entry["dim"]) == (parameters, macs, state, 1024)


def test_only_what_has_a_cost_of_its_own_is_costed() -> None:
    for entry in catalog():
        assert ("macs" in entry) == (entry["kind"] in ("core", "attention", "feedforward"))
        assert ("state" in entry) == ("macs" in entry)
        assert ("memory" in entry) == (entry["kind"] == "attention" or entry["selector"] == "core.SRUPP")


def test_the_text_shows_a_part_a_line_with_its_source_below() -> None:
    entries = catalog("attention")
    lines = catalog_text(entries).splitlines()
    assert len(lines) == 2 * len(entries)
    for entry, (first, second) in zip(entries, zip(lines[::2], lines[1::2], strict=True), strict=True):
        assert first.startswith(entry["selector"])
        assert f"{entry['parameters']:,} parameters" in first
        assert f"{entry['state']:,} floats of state" in first
        assert "at memory 1,024" in first
        assert entry["source"] in second


def test_a_part_that_cannot_be_sized_is_named_and_hides_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    @registry.register("core")
    class ReadsANumber(nn.Module):
        """Looks at a number when it is built."""

        def __init__(self, dim: int) -> None:
            super().__init__()
            self.scale = torch.ones(dim).mean().item()

    listed = {entry["selector"]: entry for entry in catalog("core")}
    assert "meta tensors" in listed["core.ReadsANumber"]["broken"]
    assert "parameters" in listed["core.LSTM"]
    assert "core.ReadsANumber" in capsys.readouterr().err
    assert re.search(r"core.ReadsANumber +Looks at a number.*\[broken\]", catalog_text(list(listed.values())))

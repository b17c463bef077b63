"""What docs/findings say is what their cells say, and their commands work."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rnnlab import cli
from rnnlab.storage.cells import CELLS_FILE, read_cells
from rnnlab.views.compare import compare
from rnnlab.views.metrics import by_difficulty
from rnnlab.views.tables import to_json
from tests.rnnlab.tiny_runs import write_text
from tests.studies.small_studies import OVERRIDES
from tests.studies.test_shipped import ON_TASK

FINDINGS = Path(__file__).parents[2] / "docs" / "findings"
STUDIES = sorted(path.parent for path in FINDINGS.glob("data/**/" + CELLS_FILE))
PAGES = sorted(path for path in FINDINGS.glob("*.md") if path.name != "README.md")
COMMANDS = [
    (page.name, command)
    for page in PAGES
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for command in block.replace("\\\n", " ").splitlines()
    if command.startswith("rnnlab ablate ")
]


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: str(path.relative_to(FINDINGS / "data")))
def test_every_mean_and_interval_is_that_of_the_cells(study: Path) -> None:
    table = json.loads((study / "ablation.json").read_text())
    metric = next(column["key"] for column in table["columns"] if column["key"] not in ("size", "variant", "seeds"))
    of_variant: dict[str, dict[int, float]] = {}
    for _, cell in read_cells(study / CELLS_FILE):
        of_variant.setdefault(cell.variant, {})[cell.seed] = _score(cell.result, metric)
    assert {row["variant"] for row in table["rows"]} <= set(of_variant)
    for row in table["rows"]:
        seeds = of_variant[row["variant"]]
        assert len(seeds) == row["seeds"] >= 3
        values, told = np.array(list(seeds.values())), row[metric]
        half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
        assert [told["low"], told["mean"], told["high"]] == pytest.approx(
            list(values.mean() + half * np.array([-1, 0, 1]))
        )


def _score(result: Mapping[str, Any], metric: str) -> float:
    name, _, difficulty = metric.partition("@")
    if not difficulty:
        return float(result[name])
    return float(by_difficulty(result)[int(difficulty)][name.removeprefix("test_")])


def test_the_matrix_is_that_of_its_columns() -> None:
    folder = FINDINGS / "data" / "matrix"
    made = compare([folder]).tables[-1]
    assert json.loads(to_json(made)) == json.loads((folder / "matrix.json").read_text())


def test_every_page_names_the_command_of_its_figures() -> None:
    for page in PAGES:
        assert "rnnlab ablate " in page.read_text(encoding="utf-8"), page.name


@pytest.mark.long
@pytest.mark.findings
@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda one: one)
def test_its_command_still_works(
    page: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a budget of two steps, one seed and no tuning."""
    monkeypatch.chdir(tmp_path)
    _, *arguments = shlex.split(command)
    bindings = ["Ablation.tune = None", "Ablation.seeds = 1"]
    if "--corpus" in arguments:
        arguments[arguments.index("--corpus") + 1] = str(write_text(tmp_path, size=4000))
        bindings += [*OVERRIDES, "Ablation.bytes = 320"]
    else:
        bindings += ON_TASK
    sets = [part for binding in bindings for part in ("--set", binding)]
    assert cli.main([*arguments, *sets, "--workers", "2", "--run", "study", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"]["ablation"]["rows"]

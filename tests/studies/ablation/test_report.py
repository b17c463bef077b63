"""What an ablation leaves behind, of runs that were trained: tables, pictures, and what is said in the terminal."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest

from rnnlab.storage import metrics
from rnnlab.storage.cells import CELLS_FILE
from rnnlab.studies.ablation.driver import run_ablation
from rnnlab.studies.ablation.report import write_report
from tests.latex import check
from tests.studies.small_studies import small_ablation

GRID = {"core": {"qrnn": ["core/qrnn"]}, "memory": {"memory 4": ["memory = 4"]}}


@pytest.mark.long
def test_a_grid_says_what_its_factors_do_to_each_other_and_when_differences_arise(tmp_path: Path) -> None:
    arguments = {"deltas": GRID, "design": "grid", "levels": {"core": "lstm", "memory": "memory 16"}, "seeds": 2}
    plan = small_ablation(tmp_path, "Trainer.eval_every = 200", **arguments)
    facts, said = run_ablation(plan, workers=2)
    assert list(facts["tables"]) == ["ablation", "factors", "interactions", "difference"]
    for stem in ("ablation", "factors", "interactions", "difference"):
        assert len(check((plan.folder / f"{stem}.tex").read_text())) > 1
        assert json.loads((plan.folder / f"{stem}.json").read_text()) == facts["tables"][stem]
    for stem in ("ablation", "forest", "difference", "interactions"):
        assert all((plan.folder / f"{stem}.{ending}").stat().st_size > 1000 for ending in ("png", "svg"))
    assert {str(plan.folder / f"{stem}.png") for stem in ("forest", "difference", "interactions")} <= set(
        facts["files"]
    )

    reached = {row["variant"]: row["valid_bpc"]["mean"] for row in facts["tables"]["ablation"]["rows"]}
    (row,) = facts["tables"]["interactions"]["rows"]
    assert row["difference"]["mean"] == pytest.approx(
        reached["qrnn, memory 4"] - reached["qrnn, memory 16"] - reached["lstm, memory 4"] + reached["baseline"]
    )
    assert "memory 16 → memory 4" in said
    assert "Difference to baseline over training" not in said, "too long for a terminal"

    rows = facts["tables"]["difference"]["rows"]
    last = {row["variant"]: row["difference"]["mean"] for row in rows}
    assert last == pytest.approx(
        {name: bpc - reached["baseline"] for name, bpc in reached.items() if name != "baseline"}
    )
    journal = metrics.read(next((plan.folder / "cells" / "baseline").glob("*/metrics.jsonl")))
    evaluations = [record["bytes"] for record in journal if record["kind"] == "valid"]
    assert [row["trained"] for row in rows if row["variant"] == "qrnn, memory 16"] == evaluations
    assert len(evaluations) > 2

    text = next(tmp_path.glob("text-*")).read_bytes()
    scored = text[len(text) * 9 // 10 :][:200]  # Trainer.eval_bytes of valid
    entropy = -sum(n / len(scored) * math.log2(n / len(scored)) for n in Counter(scored).values())
    assert [row["unigram_bpc"] for row in facts["tables"]["ablation"]["rows"]] == pytest.approx([entropy] * 4)

    for cell in (plan.folder / "cells" / "qrnn-memory-4").glob("*/result.json"):
        cell.unlink()
    (plan.folder / CELLS_FILE).unlink()  # which would tell of them
    facts, _ = write_report(plan, 0, 6)
    assert list(facts["tables"]) == ["ablation", "difference"], "the grid is not whole"

"""An ablation by the online code length: how fast and how well each variant learns, without a held-out split."""

from pathlib import Path

import pytest

from rnnlab.studies.ablation.driver import run_ablation
from rnnlab.studies.launch.run import finished
from tests.studies.small_studies import small_ablation


@pytest.mark.long
def test_variants_are_compared_by_the_bits_that_their_training_split_takes(tmp_path: Path) -> None:
    plan = small_ablation(tmp_path, metric="online_bpc")
    assert plan.metric.key == "online_bpc"
    facts, text = run_ablation(plan, workers=1)
    results = [finished(cell.folder) for cell in plan.cells()]
    assert all(result is not None and result["online_bpc"] > 0.0 for result in results)
    assert "Online BPC" in text
    assert facts
    assert not list(plan.folder.rglob("*.rnn")), "no file is written for it"

"""A search tunes dynamic evaluation on valid."""

from pathlib import Path

import pytest
from optuna.trial import TrialState

from rnnlab.studies.search.driver import run_search
from tests.studies.small_studies import small_search, trials_of


@pytest.mark.long
def test_a_search_chooses_the_rate_of_dynamic_evaluation_on_valid(tmp_path: Path) -> None:
    plan = small_search(
        tmp_path,
        "Trainer.dynamic = @Dynamic",
        "Dynamic.rule = 'sgd'",
        metric="valid_dynamic_bpc",
        space={"Dynamic.rate": {"type": "float", "low": 1e-3, "high": 1.0, "log": True}},
        trials=2,
        pruner="median",
        baseline=False,
    )
    run_search(plan, 1)
    done = trials_of(plan, TrialState.COMPLETE)
    assert len(done) == 2
    assert len({trial.value for trial in done}) == 2, "of one model, at two rates"

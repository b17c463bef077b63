"""What a trial reports, so that trials are compared at equal bytes, and to the pruner as well."""

from pathlib import Path

import pytest
from optuna.trial import TrialState

from rnnlab.storage import metrics
from rnnlab.storage.runfolder import RunFolder
from tests.studies.small_studies import search_in, trials_of

BPTT = 16


@pytest.mark.long
def test_trials_of_unequal_steps_report_at_equal_bytes_where_the_budget_is_no_multiple_of_the_distance(
    tmp_path: Path,
) -> None:
    space = {"Trainer.batch_size": {"type": "categorical", "choices": [2, 3, 5]}}
    plan = search_in(tmp_path, workers=1, trials=4, bytes=1000, evaluations=3, space=space, enqueue=[
        {"Trainer.batch_size": 3}, {"Trainer.batch_size": 5}
    ])  # fmt: skip
    assert (plan.budget, plan.evaluate_every) == (1000, 333)
    trials = trials_of(plan, TrialState.COMPLETE)
    assert {trial.params["Trainer.batch_size"] for trial in trials} == {2, 3, 5}
    for trial in trials:
        folder = RunFolder.open(plan.folder / "trials" / f"trial-{trial.number:04d}")
        longest = 2 * BPTT * trial.params["Trainer.batch_size"]  # [bytes] of a step, whatever jitter makes of it
        evaluated = [one for one in metrics.read(folder.journal.path) if one["kind"] == "valid"]
        assert sorted(trial.intermediate_values) == [333, 666, 999], "every trial at the same bytes"
        for rung, reported in trial.intermediate_values.items():
            first = next(one for one in evaluated if one["bytes"] >= rung)
            assert first["valid_bpc"] == reported
            assert rung <= first["bytes"] < rung + longest, "at most a step beyond"
        result = folder.result()
        assert result is not None
        assert trial.value == result["valid_bpc"] == evaluated[-1]["valid_bpc"]
        assert 1000 <= result["bytes_trained"] == evaluated[-1]["bytes"] < 1000 + longest

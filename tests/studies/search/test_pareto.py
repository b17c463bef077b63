"""What a better result costs."""

import json
from pathlib import Path

import pytest
from optuna.trial import TrialState

from rnnlab.storage.runfolder import RunFolder
from rnnlab.studies.search.pareto import PricedTrial, pareto_front, pareto_picture, priced, with_costs
from rnnlab.views.metrics import METRICS
from tests.studies.search.test_pictures import trial

BPC, ACCURACY = METRICS["valid_bpc"], METRICS["valid_accuracy"]
POINTS = [PricedTrial(n, macs, bpc) for n, (macs, bpc) in enumerate(
    [(100, 2.9), (100, 2.8), (200, 2.5), (150, 2.6), (300, 2.5), (120, 3.0), (400, 2.4), (400, 2.4)]
)]  # fmt: skip


def test_the_front_are_the_trials_that_no_other_beats_in_both() -> None:
    def beats(a: PricedTrial, b: PricedTrial) -> bool:
        no_worse = a.cost <= b.cost and a.reached <= b.reached
        return no_worse and ((a.cost, a.reached) != (b.cost, b.reached) or a.number < b.number)

    front = pareto_front(POINTS, BPC)
    assert {p.number for p in front} == {b.number for b in POINTS if not any(beats(a, b) for a in POINTS if a is not b)}
    assert [p.number for p in front] == [1, 3, 2, 6]
    assert [p.number for p in pareto_front(POINTS, ACCURACY)] == [0, 5]


@pytest.mark.parametrize("metric", [BPC, ACCURACY])
def test_each_trial_of_the_front_is_named_where_it_stands(metric: object) -> None:
    axis = pareto_picture(POINTS, metric).axes[0]  # type: ignore[arg-type]
    front = pareto_front(POINTS, metric)  # type: ignore[arg-type]
    assert {(text.get_text(), text.xy) for text in axis.texts} == {  # type: ignore[attr-defined]
        (str(p.number), (p.cost, p.reached)) for p in front
    }
    joined = next(line for line in axis.get_lines() if str(line.get_label()).startswith("front"))
    assert list(joined.get_xdata()) == [p.cost for p in front]
    assert list(joined.get_ydata()) == [p.reached for p in front]


def test_only_complete_trials_of_known_cost_are_weighed(tmp_path: Path) -> None:
    known, unknown, pruned = trial(0), trial(1), trial(2, TrialState.PRUNED)
    known.user_attrs = {"macs_per_byte": 7, "state_floats": 0}
    pruned.user_attrs = {"macs_per_byte": 7}
    assert with_costs([known, unknown], tmp_path) == [known, unknown]
    assert [(p.number, p.cost) for p in priced([known, unknown, pruned])] == [(0, 7.0)]
    assert [(p.number, p.cost) for p in priced([known, unknown, pruned], "state_floats")] == [(0, 0.0)]


def test_a_trial_of_before_states_were_counted_takes_what_its_run_tells(tmp_path: Path) -> None:
    old = trial(0)
    old.user_attrs = {"macs_per_byte": 7}
    folder = RunFolder.create(tmp_path / "trial-0000", "Trainer.seed = 1\n", "", {})
    result = {"status": "done", "macs_per_byte": 7, "state_floats": 24}
    (folder.path / "result.json").write_text(json.dumps(result))
    (found,) = with_costs([old], tmp_path)
    assert (found.user_attrs["macs_per_byte"], found.user_attrs["state_floats"]) == (7, 24)

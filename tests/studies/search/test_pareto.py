"""What a better result costs."""

from pathlib import Path

import pytest
from optuna.trial import TrialState

from rnnlab.studies.search.pareto import PricedTrial, pareto_front, pareto_picture, priced, with_costs
from rnnlab.views.metrics import METRICS
from tests.studies.search.test_pictures import trial

BPC, ACCURACY = METRICS["valid_bpc"], METRICS["valid_accuracy"]
POINTS = [PricedTrial(n, macs, bpc) for n, (macs, bpc) in enumerate(
    [(100, 2.9), (100, 2.8), (200, 2.5), (150, 2.6), (300, 2.5), (120, 3.0), (400, 2.4), (400, 2.4)]
)]  # fmt: skip


def test_the_front_are_the_trials_that_no_other_beats_in_both() -> None:
    def beats(a: PricedTrial, b: PricedTrial) -> bool:
        no_worse = a.macs <= b.macs and a.reached <= b.reached
        return no_worse and ((a.macs, a.reached) != (b.macs, b.reached) or a.number < b.number)

    front = pareto_front(POINTS, BPC)
    assert {p.number for p in front} == {b.number for b in POINTS if not any(beats(a, b) for a in POINTS if a is not b)}
    assert [p.number for p in front] == [1, 3, 2, 6]
    assert [p.number for p in pareto_front(POINTS, ACCURACY)] == [0, 5]


@pytest.mark.parametrize("metric", [BPC, ACCURACY])
def test_each_trial_of_the_front_is_named_where_it_stands(metric: object) -> None:
    axis = pareto_picture(POINTS, metric).axes[0]  # type: ignore[arg-type]
    front = pareto_front(POINTS, metric)  # type: ignore[arg-type]
    assert {(text.get_text(), text.xy) for text in axis.texts} == {  # type: ignore[attr-defined]
        (str(p.number), (p.macs, p.reached)) for p in front
    }
    joined = next(line for line in axis.get_lines() if str(line.get_label()).startswith("front"))
    assert list(joined.get_xdata()) == [p.macs for p in front]
    assert list(joined.get_ydata()) == [p.reached for p in front]


def test_only_complete_trials_of_known_cost_are_weighed(tmp_path: Path) -> None:
    known, unknown, pruned = trial(0), trial(1), trial(2, TrialState.PRUNED)
    known.user_attrs = {"macs_per_byte": 7}
    pruned.user_attrs = {"macs_per_byte": 7}
    assert with_costs([known, unknown], tmp_path) == [known, unknown]
    assert [p.number for p in priced([known, unknown, pruned])] == [0]

"""The tuning curve, against all draws there are."""

import itertools

import numpy as np
import pytest

from rnnlab.studies.search.tuning import (
    reached_values,
    shown_counts,
    told_counts,
    tuning_curve,
    tuning_picture,
    tuning_table,
)
from rnnlab.views.metrics import METRICS
from tests.studies.search.test_pictures import MANY, trial

BPC, ACCURACY = METRICS["valid_bpc"], METRICS["valid_accuracy"]
VALUES = [2.9, 2.5, 2.7, 2.5, 3.3]


@pytest.mark.parametrize("draws", [1, 2, 4])
@pytest.mark.parametrize("higher", [False, True])
def test_the_curve_is_the_mean_and_the_quantiles_over_all_draws_there_are(draws: int, higher: bool) -> None:
    best = [max(d) if higher else min(d) for d in itertools.product(VALUES, repeat=draws)]
    (found,) = tuning_curve(VALUES, [draws], higher)
    assert found.expected == pytest.approx(np.mean(best))
    assert found.low == np.quantile(best, 0.025, method="inverted_cdf")
    assert found.high == np.quantile(best, 0.975, method="inverted_cdf")


def test_the_curve_of_accuracy_is_that_of_its_negative_upside_down() -> None:
    lower, higher = tuning_curve(VALUES, range(1, 6)), tuning_curve([-v for v in VALUES], range(1, 6), True)
    for one, other in zip(lower, higher, strict=True):
        assert (one.expected, one.low, one.high) == pytest.approx((-other.expected, -other.high, -other.low))


def test_a_pruned_trial_counts_with_its_last_value_and_a_diverged_one_as_the_worst() -> None:
    lost = trial(5)
    lost.value = float("inf")
    assert reached_values([MANY[0], MANY[4], lost], BPC) == [MANY[0].value, 4.0, 4.0]
    assert reached_values([MANY[0], MANY[4], lost], ACCURACY)[2] == MANY[0].value
    assert reached_values([lost], BPC) == []


def test_many_trials_are_shown_at_some_counts_and_told_at_round_ones() -> None:
    assert shown_counts(7) == [1, 2, 3, 4, 5, 6, 7]
    assert told_counts(40) == [1, 2, 3, 5, 10, 20, 30, 40]
    assert told_counts(31) == [1, 2, 3, 5, 10, 20, 31]
    assert told_counts(1) == [1]
    assert len(shown_counts(1_000_000)) < 200
    assert shown_counts(1_000_000)[-1] == 1_000_000


def test_table_and_picture_say_the_same() -> None:
    values = reached_values(MANY, BPC)
    curve = tuning_curve(values, shown_counts(len(values)))
    axis = tuning_picture(curve, BPC, baseline=2.54).axes[0]
    drawn = next(line for line in axis.get_lines() if line.get_label() == "expected best of n")
    rows = tuning_table(tuning_curve(values, told_counts(len(values))), BPC, len(values)).rows
    assert [row["trials"] for row in rows] == [1, 2, 3, 5, 10, 16]
    for row in rows:
        assert drawn.get_ydata()[int(row["trials"]) - 1] == row["valid_bpc"]  # type: ignore[arg-type]

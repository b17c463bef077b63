"""Against published numbers (Student's sleep data as R prints it) and against hand-worked cases."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rnnlab.errors import ConfigError
from rnnlab.studies.ablation.statistics import MOST_EXACT, analyze, holm, least_p_flip, paired_difference, sign_flip
from rnnlab.views.intervals import mean_interval

# Student 1908, hours of extra sleep of ten patients under two drugs: R's datasets::sleep.
DRUG_1 = dict(enumerate([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]))
DRUG_2 = dict(enumerate([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]))


def test_the_paired_test_gives_what_r_gives_on_students_sleep_data() -> None:
    difference = paired_difference(DRUG_2, DRUG_1)
    assert difference.p == pytest.approx(0.002833, abs=5e-7)
    assert difference.interval is not None
    assert difference.interval.mean == pytest.approx(-1.58)
    assert (difference.interval.low, difference.interval.high) == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)
    assert difference.no_p == ""


def test_the_interval_of_three_seeds_is_the_hand_worked_one() -> None:
    # mean 2.62, standard deviation 0.02; t(0.975, 2) = 4.302653: half width 4.302653 * 0.02 / sqrt(3)
    interval = mean_interval([2.60, 2.62, 2.64])
    assert interval.mean == pytest.approx(2.62)
    assert interval.half_width == pytest.approx(0.0496828, abs=1e-6)
    assert interval.count == 3


def test_the_interval_agrees_with_scipys_own() -> None:
    values = list(DRUG_2.values())
    expected = stats.t.interval(0.95, len(values) - 1, loc=sum(values) / len(values), scale=stats.sem(values))
    interval = mean_interval(values)
    assert (interval.low, interval.high) == pytest.approx(expected)


def test_one_value_has_a_mean_and_no_interval() -> None:
    interval = mean_interval([2.5])
    assert (interval.mean, interval.low, interval.high, interval.half_width) == (2.5, None, None, None)


def test_holm_gives_what_r_gives() -> None:
    # p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm") prints 0.05 0.08 0.09 0.09 0.09
    corrected = holm({"a": 0.01, "b": 0.02, "c": 0.03, "d": 0.04, "e": 0.05})
    assert list(corrected.values()) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])


def test_holm_keeps_the_order_it_was_given_and_stops_at_one() -> None:
    corrected = holm({"weak": 0.7, "strong": 0.001, "middling": 0.6})
    assert corrected == pytest.approx({"weak": 1.0, "strong": 0.003, "middling": 1.0})
    assert list(corrected) == ["weak", "strong", "middling"]


@given(st.dictionaries(st.text(), st.floats(0, 1)))
def test_holm_never_shrinks_a_p_nor_swaps_two(p_values: dict[str, float]) -> None:
    corrected = holm(p_values)
    ranked = sorted(p_values, key=lambda name: p_values[name])
    assert all(p_values[name] <= corrected[name] <= 1 for name in p_values)
    assert all(corrected[a] <= corrected[b] for a, b in itertools.pairwise(ranked))


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_give_no_p_value_and_say_why(seeds: int) -> None:
    baseline = {seed: 2.6 + 0.01 * seed for seed in range(seeds)}
    difference = paired_difference(baseline, {seed: bpc + 0.1 + 0.01 * seed for seed, bpc in baseline.items()})
    assert difference.p is None
    assert difference.p_holm is None
    assert "at least 3" in difference.no_p
    assert difference.interval is not None
    assert (difference.interval.low is None) == (seeds == 1)


def test_pairing_removes_what_the_seeds_share() -> None:
    baseline = {1: 2.0, 2: 2.5, 3: 3.0}
    variant = {1: 2.1, 2: 2.61, 3: 3.09}
    paired = paired_difference(baseline, variant)
    unpaired = stats.ttest_ind(list(variant.values()), list(baseline.values()))
    assert paired.p is not None
    assert paired.p < 0.01 < 0.5 < unpaired.pvalue


def test_pairing_goes_by_seed_and_not_by_order() -> None:
    baseline = {1: 2.0, 2: 2.5, 3: 3.1}
    assert paired_difference(baseline, dict(reversed(baseline.items()))).interval == mean_interval([0.0, 0.0, 0.0])


def test_seeds_that_do_not_match_are_not_paired() -> None:
    difference = paired_difference({1: 2.0, 2: 2.0, 3: 2.0}, {4: 2.0, 5: 2.0})
    assert (difference.interval, difference.p) == (None, None)
    assert difference.no_p == "its seeds (4, 5) are none of the baseline's (1, 2, 3)"


def test_pairs_are_made_over_the_seeds_that_both_have_and_the_others_are_named() -> None:
    baseline = {1: 2.0, 2: 2.1, 3: 2.2, 4: 2.3, 5: 2.4}
    pruned = {1: 2.10, 2: 2.22, 3: 2.29, 7: 9.0}
    difference = paired_difference(baseline, pruned)
    three = paired_difference({1: 2.0, 2: 2.1, 3: 2.2}, {1: 2.10, 2: 2.22, 3: 2.29})
    assert (difference.interval, difference.p, difference.p_flip) == (three.interval, three.p, three.p_flip)
    assert difference.p == pytest.approx(stats.ttest_rel([2.10, 2.22, 2.29], [2.0, 2.1, 2.2]).pvalue)
    assert difference.note == "over seeds 1, 2, 3; without 4, 5, which it lacks; 7, which the baseline lacks"
    assert three.note == ""
    two = paired_difference(baseline, {1: 2.1, 2: 2.25})
    assert two.p is None
    assert two.interval == mean_interval([2.1 - 2.0, 2.25 - 2.1])
    assert two.no_p == "2 seeds shared with the baseline, and a paired t-test needs at least 3"


def test_a_seed_that_diverged_on_either_side_is_in_no_pair_and_is_named() -> None:
    baseline = {1: 2.0, 2: 2.1, 3: 2.2, 4: math.nan, 5: 2.4}
    difference = paired_difference(baseline, {1: 2.1, 2: math.inf, 3: 2.35, 4: 2.3, 5: 2.52})
    assert difference.interval == mean_interval([2.1 - 2.0, 2.35 - 2.2, 2.52 - 2.4])
    assert difference.p is not None
    assert difference.note == ("over seeds 1, 3, 5; without 2, at which it diverged; 4, at which the baseline diverged")
    assert paired_difference({1: 2.0}, {1: math.nan}).no_p == "it diverged"


def test_the_sign_flip_test_gives_what_fisher_gives_on_darwins_plants() -> None:
    """Fisher 1935: crossed against self-fertilized maize, in eighths of an inch; 863 of 32,768 sums reach 314."""
    plants = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert sign_flip(plants) == 2 * 863 / 32_768


@settings(max_examples=25)
@given(st.lists(st.floats(-9, 9).map(lambda x: round(x, 2)), min_size=2, max_size=7))
def test_the_sign_flip_test_agrees_with_scipys_own(differences: list[float]) -> None:
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", vectorized=True)
    assert sign_flip(differences) == pytest.approx(theirs.pvalue)


def test_beyond_the_exact_the_sign_flip_test_is_drawn_alike_at_every_call_and_is_near() -> None:
    rng = np.random.default_rng(5)
    differences = rng.normal(0.4, 1.0, MOST_EXACT + 4).tolist()
    assert sign_flip(differences) == sign_flip(differences)
    assert sign_flip(differences) == pytest.approx(stats.ttest_1samp(differences, 0.0).pvalue, rel=0.1)


@pytest.mark.parametrize("seeds", [3, 5, 11, MOST_EXACT])
def test_the_least_p_of_the_sign_flip_test_is_that_of_differences_on_one_side(seeds: int) -> None:
    assert sign_flip([0.1 + 0.01 * seed for seed in range(seeds)]) == least_p_flip(seeds)


def test_the_least_p_that_is_drawn_is_no_more_than_what_is_found() -> None:
    seeds = MOST_EXACT + 10
    assert sign_flip([0.1 + 0.01 * seed for seed in range(seeds)]) == pytest.approx(least_p_flip(seeds))


def test_three_seeds_cannot_reach_a_twentieth_and_a_thousandth_takes_eleven() -> None:
    assert least_p_flip(3) == 0.25
    assert least_p_flip(5) > 0.05 > least_p_flip(6)
    assert least_p_flip(10) > 0.001 > least_p_flip(11)


def test_flipped_signs_are_corrected_like_t() -> None:
    baseline = {seed: 2.6 + 0.01 * seed for seed in range(6)}
    away = {seed: value + 0.1 + 0.001 * seed**2 for seed, value in baseline.items()}
    near = {seed: value + 0.01 * (-1) ** seed + 0.001 * seed for seed, value in baseline.items()}
    found = analyze({"base": baseline, "away": away, "near": near}, "base")["away"].difference
    assert found is not None
    assert (found.p_flip, found.p_flip_holm) == (2 / 2**6, 4 / 2**6)


def test_equal_differences_are_not_tested() -> None:
    baseline = {1: 2.1, 2: 2.5, 3: 3.3}
    shifted = paired_difference(baseline, {seed: bpc + 0.1 for seed, bpc in baseline.items()})
    assert (shifted.p, shifted.p_flip) == (None, None)
    assert shifted.no_p == "the difference is the same for every seed"


def test_the_correction_counts_only_comparisons_that_were_made() -> None:
    baseline = {1: 2.60, 2: 2.62, 3: 2.61}
    results = {
        "lstm": baseline,
        "gru": {1: 2.66, 2: 2.67, 3: 2.68},
        "qrnn": {1: 2.61, 2: 2.61, 3: 2.63},
        "late": {1: 2.9},
        "broken": {1: 2.7, 2: math.nan, 3: 2.7},
    }
    statistics = analyze(results, "lstm")
    gru, qrnn = statistics["gru"].difference, statistics["qrnn"].difference
    assert gru is not None
    assert gru.p is not None
    assert gru.p_holm == pytest.approx(2 * gru.p)
    assert qrnn is not None
    assert qrnn.p_holm == qrnn.p
    assert statistics["lstm"].difference is None
    late, broken = statistics["late"].difference, statistics["broken"].difference
    assert late is not None
    assert late.interval == mean_interval([2.9 - 2.60])
    assert late.no_p == "1 seed shared with the baseline, and a paired t-test needs at least 3"
    assert broken is not None
    assert broken.no_p == "2 seeds shared with the baseline, and a paired t-test needs at least 3"
    assert broken.note == "over seeds 1, 3; without 2, at which it diverged"
    assert statistics["broken"].mean is None
    assert list(statistics) == list(results)


def test_a_diverged_baseline_leaves_nothing_to_compare_with() -> None:
    statistics = analyze({"a": {1: math.inf}, "b": {1: 2.0}}, "a")
    assert statistics["b"].difference is not None
    assert statistics["b"].difference.no_p == "the baseline diverged"
    assert statistics["b"].mean == mean_interval([2.0])


def test_an_unknown_baseline_and_an_empty_variant_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no variant 'rnn'.*'lstm'"):
        analyze({"lstm": {1: 2.0}}, "rnn")
    with pytest.raises(ConfigError, match="'gru' has no finished seed"):
        analyze({"lstm": {1: 2.0}, "gru": {}}, "lstm")

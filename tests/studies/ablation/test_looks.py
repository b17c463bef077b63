"""Several looks at one study: levels that add up, and a simulation of studies that add seeds until it is enough."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from rnnlab.studies.ablation.looks import ALPHA, Look, at_look, planned, spent, widest
from rnnlab.studies.ablation.statistics import VariantStatistics, analyze

VARIANTS = 2
MOST = 20


@pytest.mark.parametrize(("first", "most"), [(3, 3), (3, 4), (3, 20), (5, 20), (8, 21), (3, 1000), (20, 20)])
def test_looks_grow_from_the_first_to_the_most_and_their_levels_add_up_to_five_percent(first: int, most: int) -> None:
    looks = planned(first, most)
    counts = [look.seeds for look in looks]
    assert (counts[0], counts[-1]) == (first, most)
    assert counts == sorted(set(counts))
    assert all(look.level > 0 for look in looks)
    assert sum(look.level for look in looks) == pytest.approx(ALPHA, rel=1e-12)
    assert len(looks) <= 15, "each costs level"


def test_the_looks_of_twenty_seeds_are_few_and_the_first_may_spend_in_proportion() -> None:
    assert [look.seeds for look in planned(3, MOST)] == [3, 5, 8, 13, 20]
    assert planned(3, MOST)[0].level == pytest.approx(0.05 * np.log(1 + (np.e - 1) * 0.15))
    assert planned(5, 5) == (Look(5, pytest.approx(0.05)),), "one look is no sequence: the whole level"
    assert spent(1.0) == pytest.approx(0.05)


def test_at_a_look_an_interval_has_its_level_and_p_is_multiplied_by_what_it_is_of_all() -> None:
    rng = np.random.default_rng(1)
    base, other = rng.normal(size=8), rng.normal(size=8) + 1.5
    scores = {"base": dict(enumerate(base)), "other": dict(enumerate(other))}
    before = analyze(scores, "base")
    held = at_look(before, 0.01)
    assert held["base"] == before["base"]
    difference, was = held["other"].difference, before["other"].difference
    assert difference is not None
    assert difference.interval is not None
    assert was is not None
    expected = stats.ttest_rel(other, base).confidence_interval(0.99)
    assert (difference.interval.low, difference.interval.high) == pytest.approx((expected.low, expected.high))
    assert difference.p == was.p
    assert was.p_holm is not None
    assert difference.p_holm == pytest.approx(min(1, 5 * was.p_holm))
    assert was.p_flip_holm is not None
    assert difference.p_flip == was.p_flip
    assert difference.p_flip_holm == pytest.approx(min(1, 5 * was.p_flip_holm)), "of whatever test"
    assert held["other"].mean == before["other"].mean
    assert widest(held) == ("other", pytest.approx((expected.high - expected.low) / 2))


def test_where_nothing_can_be_paired_there_is_no_widest() -> None:
    assert widest(at_look(analyze({"base": {1: 1.0}, "other": {1: 2.0}}, "base"), 0.01)) is None
    diverged = {"base": {1: 1.0, 2: 1.1}, "other": {1: float("nan"), 2: 1.0}, "third": {1: 1.3, 2: 1.6}}
    name, _ = widest(analyze(diverged, "base")) or ("none", 0)
    assert name == "third", "what diverged does not stand in the way of the others"


Study = list[tuple[Look, dict[str, VariantStatistics]]]


def study(rng: np.random.Generator, until: float) -> Study:
    """The looks of one study under the null: variants that share what a seed does, and differ from the baseline in
    nothing but noise."""
    shared = rng.normal(size=MOST)
    scores = {str(i): dict(enumerate(shared + rng.normal(size=MOST))) for i in range(1 + VARIANTS)}
    taken: Study = []
    for look in planned(3, MOST):
        statistics = analyze(
            {name: {s: v for s, v in one.items() if s < look.seeds} for name, one in scores.items()}, "0"
        )
        taken.append((look, statistics))
        found = widest(at_look(statistics, look.level))
        assert found is not None
        if found[1] <= until:
            break
    return taken


def claims(statistics: dict[str, VariantStatistics], p: str = "p_holm") -> bool:
    found = [getattr(one.difference, p) for one in statistics.values() if one.difference is not None]
    return any(one is not None and one <= ALPHA for one in found)


def miss(statistics: dict[str, VariantStatistics]) -> Iterator[bool]:
    """Of each variant, whether its interval leaves out the difference that there is, 0."""
    for one in statistics.values():
        interval = None if one.difference is None else one.difference.interval
        if interval is not None and interval.low is not None and interval.high is not None:
            yield not interval.low <= 0 <= interval.high


def lower_bound(events: int, trials: int) -> float:
    """One-sided 99% bound of Clopper and Pearson: a rate above 5% is shown where it is above 5%."""
    return float(stats.beta.ppf(0.01, events, trials - events + 1)) if events else 0.0


def upper_bound(events: int, trials: int) -> float:
    """One-sided 95% bound of Clopper and Pearson: at most 5% is shown where it is at most 5%."""
    return float(stats.beta.ppf(0.95, events + 1, trials - events))


def simulate(studies: int, *, every_look_is_shown: bool) -> None:
    rng = np.random.default_rng(20)
    at_the_end = at_any = naive = missed = flipped = 0
    ends = set()
    for number in range(studies):
        taken = study(rng, until=(1.0, 1.5, 2.5)[number % 3])
        held = [at_look(statistics, look.level) for look, statistics in taken]
        at_the_end += claims(held[-1])
        at_any += any(map(claims, held))
        flipped += any(claims(statistics, "p_flip_holm") for statistics in held)
        naive += any(claims(statistics) for _, statistics in taken)
        missed += next(miss(held[-1]))
        ends.add(taken[-1][0].seeds)
    assert len(ends) >= 3, "the rule was not tried at several looks"
    assert upper_bound(at_the_end, studies) <= ALPHA
    assert upper_bound(flipped, studies) <= ALPHA, "nor by the sign-flip test at any look"
    shown = upper_bound if every_look_is_shown else lower_bound  # few studies cannot show it
    assert shown(at_any, studies) <= ALPHA, "whoever reads the table of each look claims no more"
    assert lower_bound(missed, studies) <= ALPHA, "the interval at the end holds the difference in 95%"
    assert lower_bound(naive, studies) > ALPHA, "or this simulation would not see a rule that looks too often"


@pytest.mark.long
def test_studies_that_add_seeds_claim_a_difference_that_is_none_in_at_most_five_percent() -> None:
    simulate(250, every_look_is_shown=False)


@pytest.mark.long
@pytest.mark.soak
def test_many_studies_that_add_seeds_claim_a_difference_that_is_none_in_at_most_five_percent() -> None:
    simulate(2000, every_look_is_shown=True)

"""A ladder of sizes finds the law and the growth that were put into it, and its intervals hold what they promise."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from rnnlab.studies.ablation.ladder import Extrapolation, Growth, Ladder, NoLaw, extrapolate, growth

SIZES = [1e5, 3e5, 1e6, 3e6, 1e7, 1e8]
SEEDS = range(1, 5)
STUDIES = 400  # simulated
NOISE = 0.01


def made(law: Callable[[float], float], draw: np.random.Generator | None = None, sizes: list[float] = SIZES) -> Ladder:
    """A ladder that follows the law, with the scatter of seeds if there is a generator."""
    noise = (lambda: float(draw.normal(0.0, NOISE))) if draw else lambda: 0.0
    return {size: {seed: law(size) + noise() for seed in SEEDS} for size in sizes}


def with_floor(size: float) -> float:
    return float(1.2 + 30.0 * size**-0.25)


def without_floor(size: float) -> float:
    return float(9.0 * size**-0.1)


def fitted(ladder: Ladder, floor: bool | None = None) -> Extrapolation:
    found = extrapolate(ladder, floor)
    assert isinstance(found, Extrapolation)
    return found


@pytest.mark.parametrize(("law", "a", "b", "c"), [(with_floor, 1.2, 30.0, 0.25), (without_floor, 0.0, 9.0, 0.1)])
def test_an_exact_law_is_found_and_the_largest_size_foretold(
    law: Callable[[float], float], a: float, b: float, c: float
) -> None:
    found = fitted(made(law), floor=a > 0)
    assert (found.law.floor, found.law.coefficient, found.law.exponent) == pytest.approx((a, b, c), rel=1e-4)
    assert found.size == 1e8
    assert found.predicted.mean == pytest.approx(law(1e8), rel=1e-5)
    assert found.miss == pytest.approx(0.0, abs=1e-5)
    assert found.law(2e8) == pytest.approx(law(2e8), rel=1e-5)


def test_a_floor_is_fitted_only_where_there_are_sizes_enough() -> None:
    assert fitted(made(with_floor)).law.floor == pytest.approx(1.2, rel=1e-3)
    assert fitted(made(with_floor, sizes=SIZES[:4])).law.floor == 0.0
    assert str(fitted(made(without_floor, sizes=SIZES[:4])).law) == "9 N^-0.1"
    assert str(fitted(made(with_floor)).law) == "1.2 + 30 N^-0.25"


def test_no_floor_is_below_nothing() -> None:
    """Over these sizes a straight line in logarithms bends down: a floor would have to be negative."""
    found = fitted(made(lambda size: 4.0 - 0.2 * np.log(size)), floor=True)
    assert found.law.floor == 0.0


def test_the_largest_size_has_no_say_in_the_prediction() -> None:
    ladder = {**made(without_floor), 1e8: dict.fromkeys(SEEDS, 5.0)}
    found = fitted(ladder, floor=False)
    assert found.predicted.mean == pytest.approx(without_floor(1e8), rel=1e-5)
    assert found.miss == pytest.approx(5.0 - without_floor(1e8), rel=1e-5)
    assert not found.is_within


def held(outcomes: list[bool]) -> None:
    """95% intervals hold in about 95% of studies: within what chance allows, once in ten thousand."""
    low, high = stats.binom.interval(1 - 1e-4, len(outcomes), 0.95)
    assert low <= sum(outcomes) <= high, f"{sum(outcomes)} of {len(outcomes)}"


@pytest.mark.parametrize("law", [with_floor, without_floor])
def test_intervals_hold_the_largest_size_and_the_exponent_as_often_as_they_say(law: Callable[[float], float]) -> None:
    draw = np.random.default_rng(1)
    found = [fitted(made(law, draw), floor=law is with_floor) for _ in range(STUDIES)]
    held([one.is_within for one in found])
    exponent = 0.25 if law is with_floor else 0.1
    held([(one.exponent.low or 0.0) <= exponent <= (one.exponent.high or 0.0) for one in found])


def test_a_law_that_bends_is_missed() -> None:
    """Small sizes fall without a floor; the largest stands on one."""
    draw = np.random.default_rng(2)
    found = [fitted(made(lambda size: max(without_floor(size), 2.0), draw), floor=False) for _ in range(20)]
    assert not any(one.is_within for one in found)
    assert all(one.miss is not None and one.miss > 0.3 for one in found)


@pytest.mark.parametrize(
    ("ladder", "reason"),
    [
        (made(without_floor, sizes=[1e5, 1e6]), "2 sizes, and a law takes at least 3"),
        ({**made(without_floor), 2e8: {1: float("nan")}}, "a run diverged"),
        ({**made(without_floor), 2e8: {}}, "a size has no finished seed"),
        ({**made(without_floor), 2e8: {1: 0.0}}, "above 0"),
        ({1e5: {1: 3.0}, 1e6: {1: 2.0}, 1e7: {1: 1.5}}, "2 runs at 2 sizes leave nothing"),
    ],
)
def test_where_there_is_no_law_there_is_a_reason(ladder: Ladder, reason: str) -> None:
    found = extrapolate(ladder)
    assert isinstance(found, NoLaw)
    assert reason in found.reason


def study(draw: np.random.Generator, slope: float) -> tuple[Ladder, Ladder]:
    """Two ladders that share what a seed does; their difference begins at -0.1 and grows so much a doubling."""
    seeds = {seed: draw.normal(0.0, 0.2) for seed in SEEDS}
    own = {seed: draw.normal(0.0, NOISE) for seed in SEEDS}  # an effect of the seed on the difference at every size
    base = {size: {seed: with_floor(size) + seeds[seed] for seed in SEEDS} for size in SIZES}
    effect = {size: -0.1 + slope * np.log2(size / SIZES[0]) for size in SIZES}
    variant = {
        size: {seed: base[size][seed] + effect[size] + own[seed] + draw.normal(0.0, NOISE) for seed in SEEDS}
        for size in SIZES
    }
    return base, variant


def grown(base: Ladder, variant: Ladder) -> Growth:
    found = growth(base, variant)
    assert isinstance(found, Growth)
    return found


@pytest.mark.parametrize("slope", [0.0, -0.02])
def test_the_slope_of_an_effect_is_held_as_often_as_its_interval_says(slope: float) -> None:
    draw = np.random.default_rng(3)
    found = [grown(*study(draw, slope)).per_doubling for _ in range(STUDIES)]
    held([(one.low or 0.0) <= slope <= (one.high or 0.0) for one in found])
    assert np.mean([one.mean for one in found]) == pytest.approx(slope, abs=5e-4)


def test_differences_are_paired_by_seed_at_each_size() -> None:
    base: Ladder = {1.0: {1: 5.0, 2: 7.0}, 2.0: {1: 4.0, 2: 6.0, 3: 9.0}, 4.0: {1: 3.0, 2: 5.0}}
    variant: Ladder = {size: {seed: value - size for seed, value in row.items()} for size, row in base.items()}
    found = grown(base, variant)
    assert {size: (one.mean, one.low, one.high) for size, one in found.differences.items()} == {
        1.0: (-1.0, -1.0, -1.0), 2.0: (-2.0, -2.0, -2.0), 4.0: (-4.0, -4.0, -4.0),
    }  # fmt: skip
    assert found.per_doubling.mean == pytest.approx(-1.5)
    assert found.per_doubling.count == 2


def test_growth_without_pairs_has_a_reason() -> None:
    base = made(without_floor)
    for variant, reason in (
        ({1e5: base[1e5]}, "1 sizes in common"),
        ({size: {9: 1.0} for size in base}, "no seed"),
        ({size: dict.fromkeys(SEEDS, float("nan")) for size in base}, "diverged"),
    ):
        found = growth(base, variant)
        assert isinstance(found, NoLaw)
        assert reason in found.reason

"""Plots that can be read: what would lie on top of each other stands apart."""

from itertools import pairwise

import pytest

from rnnlab.views.intervals import Interval
from rnnlab.views.plots import CostPoint, bpc_against_cost


def drawn_at(*costs: float) -> list[float]:
    """Where along the axis the marks of variants with these costs stand."""
    points = [
        CostPoint(f"variant {index}", cost, Interval(2.0 + 0.01 * index, 1.9, 2.1, 3))
        for index, cost in enumerate(costs)
    ]
    (axis,) = bpc_against_cost(points, "MACs per byte", "valid BPC").axes
    return [float(container.lines[0].get_xdata()[0]) for container in axis.containers]


def test_variants_of_equal_cost_stand_side_by_side_around_it_and_the_others_where_they_are() -> None:
    first, cheap, second, third, dear = drawn_at(300.0, 100.0, 300.0, 301.0, 500.0)
    assert (cheap, dear) == (100.0, 500.0)
    assert first < second < third
    assert all(right - left == pytest.approx(8.0) for left, right in pairwise([first, second, third]))
    assert (first + second + third) / 3 == pytest.approx(901 / 3)


@pytest.mark.parametrize("costs", [(7.0, 7.0), (0.0, 0.0), (7.0,)])
def test_variants_that_all_cost_the_same_are_drawn_apart_too(costs: tuple[float, ...]) -> None:
    assert len(set(drawn_at(*costs))) == len(costs)

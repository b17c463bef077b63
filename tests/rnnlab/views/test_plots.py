"""Plots that can be read: what would lie on top of each other stands apart."""

from itertools import pairwise

import pytest

from rnnlab.views.intervals import Interval
from rnnlab.views.learning_plots import Panel, Series, learning_curves
from rnnlab.views.plots import CostPoint, bpc_against_cost, legend_columns


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


def panel(chance: float | None = None, lowest: float = 0.3) -> Panel:
    line = [(10.0, lowest), (100.0, 0.9)]
    return Panel("Positions trained", [Series("a", line, [line])], chance=chance)


def test_accuracy_is_drawn_from_chance_or_what_is_below_it_to_one() -> None:
    for lowest, chance in ((0.3, 0.5), (0.6, 0.5)):
        low, high = learning_curves([panel(chance, lowest)], "accuracy").axes[0].get_ylim()
        assert min(lowest, chance) - 0.04 < low < min(lowest, chance)
        assert 1.0 < high < 1.05


def test_more_than_three_panels_go_on_in_a_second_row() -> None:
    figure = learning_curves([panel(0.5)] * 5, "accuracy")
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert len(shown) == 5
    assert figure.get_figwidth() == learning_curves([panel(0.5)] * 3, "accuracy").get_figwidth()
    assert [axis.get_ylabel() for axis in shown] == ["Accuracy", "", "", "Accuracy", ""]


@pytest.mark.parametrize(("count", "length", "columns"), [(4, 5, 4), (8, 5, 4), (3, 200, 1), (0, 0, 1), (13, 5, 5)])
def test_a_legend_has_rows_of_about_equal_length_that_fit(count: int, length: int, columns: int) -> None:
    assert legend_columns(["x" * length] * count, 12.6) == columns

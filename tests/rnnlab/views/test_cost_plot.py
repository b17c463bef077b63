"""The plot of a metric against cost: points stand where they are, and their names where they can be read."""

import itertools
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rnnlab.views.cost_plot import MOST_NAMED, CostPoint, reached_against_cost
from rnnlab.views.intervals import Interval
from rnnlab.views.plots import Floor


def plot(*costs: float, floor: Floor | None = None) -> Figure:
    points = [
        CostPoint(f"variant {index}", cost, Interval(2.0 + 0.01 * index, 1.9, 2.1, 3), index == 0)
        for index, cost in enumerate(costs)
    ]
    return reached_against_cost(points, "MACs per byte", "valid BPC [bits/byte]", floor)


def places(figure: Figure) -> list[tuple[float, float]]:
    found: Any = figure.axes[0].containers
    return [(float(one.lines[0].get_xdata()[0]), float(one.lines[0].get_ydata()[0])) for one in found]


@pytest.mark.parametrize("costs", [(249_856.0, 249_856.0, 400_000.0), (7.0, 7.0), (0.0, 0.0), (7.0,), (1.0, 1.001)])
def test_points_stand_at_their_cost_however_near_others_are(costs: tuple[float, ...]) -> None:
    assert places(plot(*costs)) == [(cost, pytest.approx(2.0 + 0.01 * i)) for i, cost in enumerate(costs)]


@pytest.mark.parametrize(
    ("costs", "scale"),
    [
        ((7.0, 7.0, 35.0), "linear"),
        ((0.0, 0.0), "linear"),
        ((512.0, 16_384.0, 263_936.0), "log"),
        ((0.0, 512.0, 263_936.0), "symlog"),  # a convolution carries nothing
    ],
)
def test_costs_that_are_far_apart_are_told_apart(costs: tuple[float, ...], scale: str) -> None:
    figure = plot(*costs)
    (axis,) = figure.axes
    assert axis.get_xscale() == scale
    x = sorted(axis.transData.transform((cost, 2.0))[0] for cost in set(costs))
    assert all(b - a > 0.1 * axis.bbox.width for a, b in itertools.pairwise(x))
    low, high = axis.get_xlim()
    shown = [tick for tick in axis.get_xticks() if low <= tick <= high]
    assert len(shown) >= 3
    texts = [label.get_text() for label in axis.get_xticklabels()]
    assert "0" in texts or scale != "symlog"
    assert "10k" in texts or scale == "linear", texts


def test_an_interval_beyond_what_a_share_can_be_does_not_press_the_rest_together() -> None:
    points = [
        CostPoint("jumps", 7.0, Interval(0.8, -0.1, 1.7, 3)),
        CostPoint("learned", 9.0, Interval(0.99, 0.98, 1.0, 3), is_baseline=True),
    ]
    low, high = reached_against_cost(points, "MACs", "accuracy", within=(0.0, 1.0)).axes[0].get_ylim()
    assert (low, high) == (-0.05, 1.05)
    low, high = reached_against_cost(points[1:], "MACs", "accuracy", within=(0.0, 1.0)).axes[0].get_ylim()
    assert low > 0.9, "no more room than the points take"


def test_intervals_of_equal_cost_end_in_caps_of_different_widths() -> None:
    caps = [one.lines[1][0].get_markersize() for one in plot(7.0, 7.0, 7.0).axes[0].containers]  # type: ignore[attr-defined]
    assert len(set(caps)) == 3


@pytest.mark.parametrize("count", [2, 6, MOST_NAMED])
def test_names_of_points_at_one_cost_do_not_cover_each_other(count: int) -> None:
    figure = plot(*[7.0] * count)
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    assert len(boxes) == count
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_many_points_are_named_in_a_legend() -> None:
    figure = plot(*range(1, MOST_NAMED + 14))
    assert not figure.axes[0].texts
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:2] == ["variant 0 (baseline)", "variant 1"]
    assert len(legend.get_texts()) == MOST_NAMED + 13


def test_a_floor_near_the_points_is_a_line_and_one_far_away_is_told_in_words() -> None:
    near, far = (plot(1.0, 2.0, floor=Floor(level, "chance")).axes[0] for level in (2.2, 5.0))
    assert near.get_ylim()[1] > 2.2
    assert 2.2 in {float(line.get_ydata()[0]) for line in near.lines}
    assert "chance" in {text.get_text() for text in near.texts}
    assert far.get_ylim()[1] < 3
    assert "chance: 5, above this picture" in {text.get_text() for text in far.texts}

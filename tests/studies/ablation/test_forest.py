"""The forest plot: what it shows of every variant, and where the zero line and better are."""

import random
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rnnlab.studies.ablation.forest import forest_plot
from rnnlab.studies.ablation.statistics import VariantStatistics, analyze
from rnnlab.views.metrics import metric

ACCURACY, BPC = metric("test_accuracy"), metric("valid_bpc")


def statistics(count: int) -> dict[str, VariantStatistics]:
    draw = random.Random(0)
    names = ["lstm", *(f"variant {i} with a name of some length" for i in range(1, count))]
    scores = {name: {s: 2.5 + 0.05 * (i % 7) + draw.gauss(0, 0.02) for s in (1, 2, 3)} for i, name in enumerate(names)}
    return analyze(scores, "lstm")


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("count", [2, 25])
def test_every_variant_has_a_row_with_its_difference_and_no_two_names_touch(count: int) -> None:
    found = statistics(count)
    figure = forest_plot(found, "lstm", BPC)
    axis: Any = figure.axes[0]
    differences = [one.difference.interval for one in found.values() if one.difference and one.difference.interval]
    drawn = [float(one.lines[0].get_xdata()[0]) for one in axis.containers]
    assert drawn == [interval.mean for interval in differences]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(found)[1:]
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [label.get_window_extent(renderer) for label in axis.get_yticklabels()]
    assert all(boxes[i].y0 >= boxes[i + 1].y1 for i in range(len(boxes) - 1)), "from top to bottom, and apart"
    assert all(box.x0 >= 0 for box in boxes), "a name is cut off"
    (numbers,) = axis.child_axes
    assert [label.get_text() for label in numbers.get_yticklabels()] == [
        f"{interval.mean:+.3f} ± {interval.half_width:.3f}" for interval in differences
    ]
    low, high = axis.get_xlim()
    assert low < 0 < high


def test_it_says_which_side_is_better_and_against_what() -> None:
    assert texts(forest_plot(statistics(3), "lstm", BPC)) == ["← better", "worse"]
    figure = forest_plot(statistics(3), "lstm", ACCURACY)
    assert texts(figure) == ["worse", "better →"]
    assert figure.axes[0].get_title() == "against lstm"


def test_a_variant_at_the_floor_does_not_squeeze_the_others() -> None:
    scores = {"lstm": {1: 0.9, 2: 0.91, 3: 0.92}, "gru": {1: 0.92, 2: 0.92, 3: 0.93}, "lost": {1: 0.1, 2: 0.1, 3: 0.11}}
    figure = forest_plot(analyze(scores, "lstm"), "lstm", ACCURACY, frozenset({"lost"}))
    axis: Any = figure.axes[0]
    assert axis.get_xlim()[0] > -0.1
    assert [label.get_text() for label in axis.get_yticklabels()] == ["gru", "lost †"]
    assert axis.child_axes[0].get_yticklabels()[1].get_text().startswith("-0.807")


def test_variants_that_cannot_be_paired_keep_their_row() -> None:
    scores = {"lstm": {1: 0.9, 2: 0.91}, "gru": {1: 0.92, 2: 0.95}, "broken": {1: float("nan"), 2: float("nan")}}
    axis: Any = forest_plot(analyze(scores, "lstm"), "lstm", ACCURACY).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["gru", "broken"]
    assert axis.child_axes[0].get_yticklabels()[1].get_text() == "none"


def test_where_all_are_at_the_floor_their_intervals_are_in_the_picture() -> None:
    found = statistics(4)
    low, high = forest_plot(found, "lstm", BPC, frozenset(found)).axes[0].get_xlim()
    for one in found.values():
        if one.difference and one.difference.interval:
            interval = one.difference.interval
            assert interval.low is not None
            assert interval.high is not None
            assert low < interval.low < interval.high < high


@pytest.mark.parametrize("gru", [[1.0, 1.0, 1.0], [0.998, 1.0, 1.0]], ids=["nothing between the others", "little"])
def test_where_most_are_at_the_floor_the_axis_holds_them(gru: list[float]) -> None:
    """As on parity, where four of six cores stay at chance."""
    lost = {f"lost {i}": {1: 0.5, 2: 0.49, 3: 0.5} for i in range(4)}
    scores = {"lstm": dict.fromkeys((1, 2, 3), 1.0), "gru": dict(enumerate(gru, 1)), **lost}
    axis: Any = forest_plot(analyze(scores, "lstm"), "lstm", ACCURACY, frozenset(lost)).axes[0]
    assert axis.get_xlim()[0] < -0.5
    assert len(axis.containers) == 5, "none is a triangle at the edge"

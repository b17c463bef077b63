"""Accuracy against difficulty, and the matrix of variants against tasks: what is drawn, and whether it can be read."""

from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from rnnlab.views.difficulties import TaskTest
from rnnlab.views.plots import PALETTE
from rnnlab.views.task_matrix import task_matrix
from rnnlab.views.task_plots import LINE, TRAINED, accuracy_by_difficulty


def task_test(curves: dict[str, dict[int, float]], reach: dict[str, int] | None = None, **task: Any) -> TaskTest:
    """Two seeds a variant, 0.02 apart."""
    about = {"name": "Parity", "difficulty": "length", "trained": [3, 40], **task}

    def facts(name: str, less: float) -> dict[str, Any]:
        rows = [{about["difficulty"]: at, "accuracy": y - less, "chance": 0.5} for at, y in curves[name].items()]
        return {"task": about, "test_by": rows, "reach": (reach or {}).get(name)}

    return TaskTest(about["name"], about["difficulty"], {name: [facts(name, 0), facts(name, 0.02)] for name in curves})


def lines(figure: Figure, color: str) -> list[Any]:
    return [line for line in figure.axes[0].lines if line.get_color() == color]


def test_a_curve_is_the_mean_over_seeds_with_their_range() -> None:
    figure = accuracy_by_difficulty(task_test({"a": {40: 1.0, 64: 0.9}}))
    (line,) = lines(figure, PALETTE[0])
    assert list(line.get_xdata()) == [40, 64]
    assert list(line.get_ydata()) == pytest.approx([0.99, 0.89])
    (band,) = figure.axes[0].collections
    heights = band.get_paths()[0].vertices[:, 1]  # type: ignore[index]
    assert (min(heights), max(heights)) == (pytest.approx(0.88), pytest.approx(1.0))


@pytest.mark.parametrize(("greatest", "scale"), [(320, "linear"), (321, "log")])
def test_the_axis_is_logarithmic_where_difficulties_differ_more_than_eight_times(greatest: int, scale: str) -> None:
    figure = accuracy_by_difficulty(task_test({"a": {40: 1.0, greatest: 0.9}}))
    assert figure.axes[0].get_xscale() == scale


def test_chance_is_dashed_and_what_was_trained_is_shaded() -> None:
    figure = accuracy_by_difficulty(task_test({"a": {40: 1.0, 64: 0.9}}))
    (chance,) = lines(figure, "#888888")
    assert list(chance.get_ydata()) == [0.5, 0.5]
    assert chance.is_dashed()
    (shade,) = figure.axes[0].patches
    assert shade.get_extents().x0 < shade.get_extents().x1
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == (3, 40)  # type: ignore[attr-defined]


def test_a_single_difficulty_that_was_trained_is_a_stripe() -> None:
    figure = accuracy_by_difficulty(task_test({"a": {8: 1.0, 16: 0.9}}, trained=[8, 8]))
    (stripe,) = lines(figure, TRAINED["color"])
    assert list(stripe.get_xdata()) == [8, 8]
    assert stripe.get_linewidth() > 5


def test_a_reach_is_marked_in_the_color_of_its_variant_where_it_lies_within_the_picture() -> None:
    curves = {name: {40: 1.0 - i / 9, 64: 0.9 - i / 9} for i, name in enumerate("abc")}
    figure = accuracy_by_difficulty(task_test(curves, reach={"b": 63, "c": 1000}))
    assert [list(line.get_xdata()) for line in lines(figure, PALETTE[1])[1:]] == [[63, 63]]
    assert len(lines(figure, PALETTE[0])) == len(lines(figure, PALETTE[2])) == 1


def test_a_reach_in_positions_is_not_drawn_among_pairs() -> None:
    figure = accuracy_by_difficulty(task_test({"a": {4: 1.0, 64: 0.9}}, reach={"a": 63}, difficulty="pairs"))
    assert len(lines(figure, PALETTE[0])) == 1


def test_curves_that_coincide_stand_a_line_apart_and_the_others_where_they_are() -> None:
    figure = accuracy_by_difficulty(
        task_test({"a": {40: 1.0, 64: 1.0}, "b": {40: 1.0, 64: 1.0}, "c": {40: 0.6, 64: 0.6}})
    )
    figure.draw_without_rendering()
    heights = {}
    for name, color in zip("abc", PALETTE, strict=False):
        (line,) = lines(figure, color)
        exact = figure.axes[0].transData.transform((40, line.get_ydata()[0]))[1]
        heights[name] = (line.get_transform().transform((40, line.get_ydata()[0]))[1] - exact) * 72 / figure.dpi
    assert heights["a"] - heights["b"] == pytest.approx(LINE)
    assert heights["a"] + heights["b"] == pytest.approx(0.0)
    assert heights["c"] == pytest.approx(0.0)


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Texts that lie over each other or over the edge of the picture."""
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    hidden = [label for axis in figure.axes for label in beyond(axis)]
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_visible()]
    boxes = [
        (text.get_text(), text.get_window_extent(renderer)) for text in texts if text not in hidden and text.get_text()
    ]
    edge = figure.bbox
    out = [(told, "edge") for told, box in boxes if box.x0 < 0 or box.x1 > edge.x1 or box.y0 < 0 or box.y1 > edge.y1]
    pairs = [(one, other) for i, one in enumerate(boxes) for other in boxes[:i]]
    return out + [(one, other) for (one, a), (other, b) in pairs if a.padded(-0.5).overlaps(b.padded(-0.5))]


def beyond(axis: Any) -> list[Text]:
    """Labels of ticks beyond the ends of the axes: they are not drawn."""
    sides = (axis.get_xticklabels(), 0, sorted(axis.get_xlim())), (axis.get_yticklabels(), 1, sorted(axis.get_ylim()))
    return [
        label for labels, at, (low, high) in sides for label in labels if not low <= label.get_position()[at] <= high
    ]


@pytest.mark.parametrize(
    "difficulties", [(40, 64, 128, 256), (1, 2, 4, 8, 15, 16, 32, 63, 64, 127, 128, 512), range(3, 41)]
)
def test_no_text_lies_over_another_or_the_edge(difficulties: Any) -> None:
    names = [
        "lstm",
        "a_variant_with_a_name_that_goes_on_and_on_and_on_for_long",
        "_x",
        *(f"core_{n}" for n in range(9)),
    ]
    curves = {name: dict.fromkeys(difficulties, 1 / (1 + i / 9)) for i, name in enumerate(names)}
    assert overlapping(accuracy_by_difficulty(task_test(curves, reach={"lstm": 30}))) == []


def matrix(rows: int = 3) -> Figure:
    accuracies = {f"variant_{i}": {40: 1 - i * 0.5 / rows, 256: 0.5} for i in range(rows)}
    return task_matrix(
        [
            task_test(accuracies),
            task_test({"variant_0": {8: 0.9, 16: 0.7}}, name="RecallAtDistance", difficulty="distance", trained=[1, 8]),
            task_test({"only_here": {64: 0.7}}, name="SelectiveCopy", trained=[64, 64]),
        ]
    )


def test_a_cell_says_accuracy_and_one_that_is_missing_says_so() -> None:
    told = [text.get_text() for text in matrix().axes[0].texts]
    assert told.count("0.990") == 1
    assert told.count("0.490") == 3
    assert told.count("–") == 3 + 2 * 3 + 3 - 1


def test_a_task_has_a_column_for_what_was_trained_and_one_for_the_greatest() -> None:
    labels = [label.get_text() for label in matrix().axes[0].get_xticklabels()]
    assert labels == ["40", "256", "8", "16", "64"]


def luminance(color: Any) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_number_contrasts_with_its_cell_and_a_better_one_is_darker() -> None:
    axis = matrix(rows=20).axes[0]
    cells = [(patch, text) for patch, text in zip(axis.patches, axis.texts, strict=False) if text.get_text() != "–"]
    for patch, text in cells:
        light, dark = sorted((luminance(patch.get_facecolor()), luminance(text.get_color())), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 4.5, text.get_text()  # WCAG 2.1, AA
    first = [luminance(patch.get_facecolor()) for patch, _ in cells[:20]]
    assert first == sorted(first), "the column falls from 1 to chance"


@pytest.mark.parametrize("rows", [1, 3, 12])
def test_no_text_of_the_matrix_lies_over_another_or_the_edge(rows: int) -> None:
    assert overlapping(matrix(rows)) == []

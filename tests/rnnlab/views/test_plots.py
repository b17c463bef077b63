"""Plots that can be read: what would lie on top of each other stands apart."""

import pytest

from rnnlab.views.learning_plots import Panel, Series, learning_curves
from rnnlab.views.plots import PALETTE, legend_columns, marker


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


def test_no_two_of_49_series_share_both_color_and_mark() -> None:
    assert len({(PALETTE[index % len(PALETTE)], marker(index)) for index in range(49)}) == 49


def test_the_floor_of_a_text_is_a_line_in_its_curves_and_named_beside_them() -> None:
    for level, told in (
        (0.5, " entropy of single bytes"),
        (5.0, " entropy of single bytes: 5.000, above this picture"),
    ):
        figure = learning_curves([panel(level)], "BPC")
        assert level in {float(line.get_ydata()[0]) for line in figure.axes[0].lines}
        assert figure.legends[0].get_texts()[-1].get_text() == told

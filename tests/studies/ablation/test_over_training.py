"""The difference to the baseline over training, from curves whose differences are known."""

import pytest

from rnnlab.studies.ablation.over_training import difference_plot, difference_table, differences
from rnnlab.views import tables
from rnnlab.views.curves import Point
from rnnlab.views.intervals import mean_interval
from rnnlab.views.metrics import metric
from tests.latex import check

BPC = metric("valid_bpc")


def curve(*points: tuple[int, float]) -> list[Point]:
    return [Point(bytes, bytes / 1000, value) for bytes, value in points]


def test_a_difference_is_taken_seed_by_seed_at_equal_bytes() -> None:
    baseline = {1: curve((100, 5.0), (200, 4.0)), 2: curve((100, 5.5), (200, 4.1)), 3: curve((100, 5.2), (200, 4.2))}
    by = {1: (0.3, -0.1), 2: (0.2, -0.2), 3: (0.4, -0.15)}
    variant = {
        seed: curve(*((p.bytes, p.value + d) for p, d in zip(baseline[seed], by[seed], strict=True))) for seed in by
    }
    first, second = differences(baseline, variant)
    for found, trained, expected in ((first, 100, [0.3, 0.2, 0.4]), (second, 200, [-0.1, -0.2, -0.15])):
        interval = mean_interval(expected)
        assert found.trained == trained
        assert (found.interval.mean, found.interval.low, found.interval.high) == pytest.approx(
            (interval.mean, interval.low, interval.high)
        )


def test_seeds_that_draw_lengths_of_their_own_are_matched_by_the_number_of_the_evaluation() -> None:
    baseline = {1: curve((100, 0.1), (210, 0.5)), 2: curve((90, 0.1), (190, 0.6))}
    variant = {1: curve((100, 0.2), (210, 0.9)), 2: curve((90, 0.3), (190, 0.9))}
    first, second = differences(baseline, variant)
    assert (first.trained, second.trained) == (95, 200)
    assert (first.interval.mean, second.interval.mean) == pytest.approx((0.15, 0.35))


def test_a_variant_with_another_batch_is_matched_by_the_number_too_and_stands_between() -> None:
    (found,) = differences({1: curve((100, 5.0))}, {1: curve((110, 4.0))})
    assert (found.trained, found.interval.mean, found.interval.half_width) == (105, -1.0, None)


def test_what_only_some_seeds_or_one_of_both_has_is_left_out() -> None:
    baseline = {1: curve((100, 5.0), (200, 4.0)), 2: curve((100, 5.0)), 3: curve((100, 5.0))}
    (found,) = differences(baseline, {1: curve((100, 4.0), (200, 3.0)), 2: curve((100, 4.5)), 4: curve((100, 1.0))})
    assert (found.interval.count, found.interval.mean) == (2, pytest.approx(-0.75))
    assert differences(baseline, {4: curve((100, 1.0))}) == []
    assert differences({1: []}, {1: []}) == []


def test_its_numbers_are_a_table_in_every_format() -> None:
    points = differences(
        {s: curve((100, 5.0), (2000, 4.0)) for s in (1, 2)},
        {s: curve((100, 5.1), (2000, 3.9 + s / 10)) for s in (1, 2)},
    )
    table = difference_table({"gru": points}, "lstm", BPC)
    assert table.title == "Difference to lstm over training: valid BPC"
    assert [row["trained"] for row in table.rows] == [100, 2000]
    assert check(tables.to_latex(table))[1][0] == "gru"
    assert tables.to_csv(table).splitlines()[0] == "variant,trained,difference,difference_low,difference_high,seeds"


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (4, 2), (24, 5)])
def test_every_variant_has_a_panel_of_one_scale_with_zero_in_it(count: int, columns: int) -> None:
    baseline = {s: curve(*((100 * k, 5.0 / k) for k in range(1, 11))) for s in (1, 2, 3)}
    found = {
        f"variant {i}": differences(
            baseline, {s: curve(*((100 * k, 5.0 / k + 3 / k**3 + 0.01 * s) for k in range(1, 11))) for s in (1, 2, 3)}
        )
        for i in range(count)
    }
    figure = difference_plot(found, "lstm", BPC)
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in shown] == list(found)
    assert len({axis.get_ylim() for axis in shown}) == 1
    low, high = shown[0].get_ylim()
    assert low < 0 < high < 1, "the first evaluations, at +3, would make a line of the rest"
    assert figure.axes[0].get_subplotspec().get_gridspec().ncols == columns  # type: ignore[union-attr]

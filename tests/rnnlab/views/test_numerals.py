"""How numbers read."""

import pytest

from rnnlab.views import numerals


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00k"),
        (999.6, "1.00k"),
        (53_773_517, "53.8M"),
        (1.5e15, "1.50P"),
        (0.25, "0.25"),
        (999_600, "1.00M"),
    ],
)
def test_engineering_shows_three_figures(value: float, shown: str) -> None:
    assert numerals.engineering(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0 s"), (75, "1 min 15 s"), (119.7, "2 min 00 s"), (45_000, "12 h 30 min")]
)
def test_durations_read_in_the_two_units_that_matter(seconds: float, shown: str) -> None:
    assert numerals.duration(seconds) == shown


def test_a_p_value_is_never_shown_as_zero() -> None:
    assert numerals.probability(0.0004) == "<0.001"
    assert numerals.probability(0.0123) == "0.012"

"""The table and the picture of a ladder say what its fits say."""

import numpy as np
import pytest

from rnnlab.errors import ConfigError
from rnnlab.studies.ablation.ladder import Extrapolation, Growth, Ladder, extrapolate, growth
from rnnlab.studies.ablation.ladder_report import ladder_plot, ladder_table
from rnnlab.views import tables
from rnnlab.views.probe_pictures import to_png

SIZES = [1e5, 3e5, 1e6, 3e6, 1e7]


def ladders(variants: int = 2) -> dict[str, Ladder]:
    draw = np.random.default_rng(4)
    return {
        name: {
            size: {seed: 9.0 * size**-0.1 * (1 - 0.01 * number) + draw.normal(0.0, 0.01) for seed in (1, 2, 3)}
            for size in SIZES
        }
        for number, name in enumerate(["lstm", *(f"variant {n}" for n in range(1, variants))])
    }


def test_a_row_has_the_law_the_miss_and_the_growth_of_its_variant() -> None:
    made = ladders()
    lstm, variant = ladder_table(made, "lstm").rows
    found, grown = extrapolate(made["variant 1"]), growth(made["lstm"], made["variant 1"])
    assert isinstance(found, Extrapolation)
    assert isinstance(grown, Growth)
    assert (variant["law"], variant["largest"]) == (str(found.law), 1e7)
    assert (variant["predicted"], variant["miss"]) == (found.predicted, found.measured - found.predicted.mean)
    assert variant["growth"] == grown.per_doubling
    assert "growth" not in lstm


def test_what_was_missed_and_what_has_no_law_stands_beneath() -> None:
    made = ladders(3)
    made["variant 1"] = {**made["variant 1"], 1e7: {1: 4.0, 2: 4.0, 3: 4.0}}
    made["variant 2"] = {**made["variant 2"], 1e7: {1: float("nan")}}
    table = ladder_table(made, "lstm")
    notes = "\n".join(table.notes)
    assert "outside of the interval for variant 1: the law does not hold" in notes
    assert "No law for variant 2: a run diverged." in notes
    assert "No growth for variant 2: " in notes
    assert "variant 2" in tables.to_text(table)


def test_a_metric_of_which_more_is_better_has_no_power_law() -> None:
    with pytest.raises(ConfigError, match="a power law falls with size"):
        ladder_table(ladders(), "lstm", "valid_accuracy")
    with pytest.raises(ConfigError, match="no variant 'gru'"):
        ladder_plot(ladders(), "gru")


@pytest.mark.parametrize("variants", [1, 2, 12])
def test_a_picture_is_drawn_of_few_variants_and_of_many(variants: int) -> None:
    figure = ladder_plot(ladders(variants), "lstm")
    laws, differences = figure.axes
    open_points = [line for line in laws.lines if line.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in open_points] == [[1e7]] * variants
    assert len(differences.containers) == variants - 1
    assert to_png(figure)[0].startswith(b"\x89PNG")

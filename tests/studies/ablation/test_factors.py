"""The factors of a grid: marginal means and differences of differences, against their textbook forms."""

import itertools
import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from rnnlab.studies.ablation.driver import run_ablation
from rnnlab.studies.ablation.factor_plots import interaction_plot
from rnnlab.studies.ablation.factor_tables import factor_table, interaction_table
from rnnlab.studies.ablation.factors import Grid, grid_of
from rnnlab.studies.ablation.looks import planned
from rnnlab.views import plots, tables
from rnnlab.views.intervals import Interval
from rnnlab.views.metrics import metric
from tests.studies.small_studies import DROPPED, small_ablation

TWO = {"core": ("lstm", "qrnn"), "memory": ("memory 64", "memory 16")}
THREE = {"core": ("lstm", "qrnn", "gru"), "memory": ("memory 64", "memory 16"), "self": ("base", "self")}
ACCURACY = metric("test_accuracy")


def grid(factors: Mapping[str, Sequence[str]] = TWO, seeds: int = 4, interaction: float = -0.2, seed: int = 1) -> Grid:
    """-.10 for each step of the first factor, -.15 for each of the second, and what the two do together."""
    draw = random.Random(seed)
    shared = [draw.gauss(0, 0.1) for _ in range(seeds)]
    scores = {}
    for levels in itertools.product(*factors.values()):
        i, j, *_ = (list(names).index(level) for names, level in zip(factors.values(), levels, strict=True))
        effect = 0.9 - 0.10 * i - 0.15 * j + interaction * i * j
        scores[levels] = {s + 1: effect + shared[s] + draw.gauss(0, 0.01) for s in range(seeds)}
    found = grid_of(factors, scores)
    assert found is not None
    return found


def test_the_interaction_of_two_factors_is_the_paired_difference_of_differences() -> None:
    made = grid()
    y = {levels: np.array(list(by_seed.values())) for levels, by_seed in made.scores.items()}
    at_lstm = y["lstm", "memory 16"] - y["lstm", "memory 64"]
    at_qrnn = y["qrnn", "memory 16"] - y["qrnn", "memory 64"]
    (found,) = made.interactions()
    assert (found.change, found.between) == (("memory 64", "memory 16"), ("lstm", "qrnn"))
    for effect, expected in zip(found.effects, (at_lstm, at_qrnn), strict=True):
        assert effect is not None
        assert effect.mean == pytest.approx(expected.mean())
    interval = found.difference.interval
    test = stats.ttest_1samp(at_qrnn - at_lstm, 0)
    low, high = test.confidence_interval(0.95)
    assert interval is not None
    assert (interval.mean, interval.low, interval.high) == pytest.approx(((at_qrnn - at_lstm).mean(), low, high))
    assert interval.mean == pytest.approx(-0.2, abs=0.04)
    assert found.difference.p == pytest.approx(test.pvalue)
    assert found.difference.p_holm == found.difference.p, "there is one interaction to correct for"


def test_two_factors_that_do_not_depend_on_each_other_have_an_interval_that_holds_zero_as_often_as_it_says() -> None:
    held, significant = 0, 0
    for seed in range(400):
        (found,) = grid(interaction=0.0, seed=seed).interactions()
        interval, p = found.difference.interval, found.difference.p
        assert interval is not None
        assert interval.low is not None
        assert interval.high is not None
        assert p is not None
        held += interval.low <= 0 <= interval.high
        significant += p < 0.05
    assert 0.92 <= held / 400 <= 0.98
    assert held + significant == 400


def test_a_marginal_mean_is_over_the_other_factors_and_its_difference_is_paired_by_seed() -> None:
    made = grid()
    y = {levels: np.array(list(by_seed.values())) for levels, by_seed in made.scores.items()}
    by_level = {one.level: one for one in made.level_means()}
    assert list(by_level) == ["lstm", "qrnn", "memory 64", "memory 16"]
    qrnn = (y["qrnn", "memory 64"] + y["qrnn", "memory 16"]) / 2
    lstm = (y["lstm", "memory 64"] + y["lstm", "memory 16"]) / 2
    mean, difference = by_level["qrnn"].mean, by_level["qrnn"].difference
    assert mean is not None
    assert difference is not None
    assert mean.mean == pytest.approx(qrnn.mean())
    low, high = stats.ttest_1samp(qrnn - lstm, 0).confidence_interval(0.95)
    assert (difference.low, difference.high) == pytest.approx((low, high))
    assert by_level["lstm"].difference is None
    assert difference.half_width is not None
    assert mean.half_width is not None
    assert difference.half_width < mean.half_width / 3, "what the seeds share drops out"


def test_of_three_factors_every_two_have_a_row_and_p_is_corrected_for_all_of_them() -> None:
    found = grid(THREE).interactions()
    assert [(one.factors, one.change[1], one.between[1]) for one in found] == [
        (("memory", "core"), "memory 16", "qrnn"),
        (("memory", "core"), "memory 16", "gru"),
        (("self", "core"), "self", "qrnn"),
        (("self", "core"), "self", "gru"),
        (("self", "memory"), "self", "memory 16"),
    ]
    least = min(found, key=lambda one: one.difference.p or 1.0)
    assert least.difference.p is not None
    assert least.difference.p_holm == pytest.approx(5 * least.difference.p)
    gru = found[1].difference.interval
    assert gru is not None
    assert gru.mean == pytest.approx(-0.4, abs=0.04)


def test_two_seeds_have_an_interval_and_no_p_and_one_has_neither() -> None:
    for seeds, half_width in ((2, True), (1, False)):
        (found,) = grid(seeds=seeds).interactions()
        assert found.difference.p is None
        assert found.difference.interval is not None
        assert (found.difference.interval.half_width is not None) == half_width
        notes = " ".join(interaction_table(grid(seeds=seeds), ACCURACY).notes)
        assert "needs at least 3" in notes
        assert ("± is" in notes) == half_width
        assert "p (Holm)" not in notes, "there is no such column"


def test_what_is_exactly_additive_is_no_finding_of_rounding() -> None:
    levels = itertools.product(*TWO.values())
    effects = {("lstm", "memory 64"): 0.9, ("lstm", "memory 16"): 0.8, ("qrnn", "memory 64"): 0.7}
    scores = {cell: {s: effects.get(cell, 0.6) + 0.013 * s for s in (1, 2, 3)} for cell in levels}
    made = grid_of(TWO, scores)
    assert made is not None
    (found,) = made.interactions()
    assert found.difference.p is None
    assert found.difference.interval is not None
    assert found.difference.interval.mean == pytest.approx(0)


def test_a_run_that_diverged_leaves_its_contrasts_without_a_number_and_says_so() -> None:
    made = grid()
    broken = {cell: dict(by_seed) for cell, by_seed in made.scores.items()}
    broken["qrnn", "memory 16"][2] = math.nan
    found = grid_of(TWO, broken)
    assert found is not None
    (one,) = found.interactions()
    assert one.difference.interval is None
    assert "No p-value: seed 2 diverged in a combination." in interaction_table(found, ACCURACY).notes
    assert [level.level for level in found.level_means() if level.mean is None] == ["qrnn", "memory 16"]


def test_a_grid_that_is_not_whole_has_no_factor_table_and_seeds_that_some_lack_are_left_out() -> None:
    scores = {cell: dict(by_seed) for cell, by_seed in grid().scores.items()}
    del scores["qrnn", "memory 16"][4]
    found = grid_of(TWO, scores)
    assert found is not None
    assert found.seeds == [1, 2, 3]
    assert "Without seed 4, which not every combination has." in factor_table(found, ACCURACY).notes
    del scores["lstm", "memory 16"]
    assert grid_of(TWO, scores) is None
    assert grid_of({"core": TWO["core"]}, {("lstm",): {1: 0.5}, ("qrnn",): {1: 0.6}}) is None


def test_the_tables_name_factors_and_levels_in_every_format() -> None:
    for table in (factor_table(grid(), ACCURACY), interaction_table(grid(), ACCURACY)):
        for writer in (tables.to_text, tables.to_markdown, tables.to_latex, tables.to_json, tables.to_csv):
            assert all(name in writer(table) for name in ("memory", "lstm", "qrnn", "memory 64", "memory 16"))
    (row,) = json.loads(tables.to_json(interaction_table(grid(), ACCURACY)))["rows"]
    assert row["factors"] == ["memory", "core"]
    (found,) = grid().interactions()
    assert found.difference.interval is not None
    assert row["difference"]["low"] == found.difference.interval.low
    assert "Not told apart from chance: a + b." in " ".join(interaction_table(grid(), ACCURACY, ["a + b"]).notes)
    text = tables.to_text(interaction_table(grid(), ACCURACY))
    assert "above zero it does more good" in text
    assert "below zero it does more good" in tables.to_text(interaction_table(grid(), metric("valid_bpc")))


def test_at_one_of_several_looks_intervals_and_p_are_held_to_what_it_may_spend() -> None:
    for make in (factor_table, interaction_table):
        plain, held = make(grid(), ACCURACY), make(grid(), ACCURACY, level=0.01)
        assert any("± of a difference is the 99.00% interval" in note for note in held.notes)
        assert not any("99.00%" in note for note in plain.notes)
        for was, now in zip(plain.rows, held.rows, strict=True):
            for key in {"difference", "effect_first", "effect_second"} & set(was):
                before, after = was[key], now[key]
                if before is None:
                    continue
                assert isinstance(before, Interval)
                assert isinstance(after, Interval)
                assert after.mean == before.mean
                ratio = stats.t.ppf(0.995, 3) / stats.t.ppf(0.975, 3)
                assert after.half_width == pytest.approx(before.half_width * ratio), "of four seeds"
    (was,), (now,) = (interaction_table(grid(), ACCURACY, level=level).rows for level in (None, 0.01))
    assert now["p"] == was["p"]
    assert isinstance(was["p_holm"], float)
    assert now["p_holm"] == pytest.approx(min(1.0, 5 * was["p_holm"]))


@pytest.mark.long
def test_a_grid_with_planned_looks_holds_its_interactions_to_the_look(tmp_path: Path) -> None:
    deltas = {"core": {"qrnn": ["core/qrnn"]}, **DROPPED}
    plan = small_ablation(tmp_path, deltas=deltas, design="grid", seeds=3, until=1000.0, bytes=64)
    facts, _ = run_ablation(plan, workers=2)
    level = planned(3, 20)[0].level
    notes = " ".join(facts["tables"]["interactions"]["notes"])
    assert f"± of a difference is the {100 * (1 - level):.2f}% interval" in notes


@pytest.mark.parametrize(("factors", "panels"), [(TWO, 1), (THREE, 3)])
def test_the_interaction_plot_has_a_panel_for_two_factors_and_a_line_a_level(
    factors: Mapping[str, Sequence[str]], panels: int
) -> None:
    figure = interaction_plot(grid(factors), ACCURACY, plots.Floor(0.0625, "chance"))
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert len(shown) == panels
    for axis in shown:
        (lines,) = [title for title in (axis.get_legend().get_title().get_text(),) if title in factors]
        assert len(axis.containers) == len(factors[lines])
        assert [tick.get_text() for tick in axis.get_xticklabels()] == list(factors[axis.get_xlabel()])
    assert "chance" in [text.get_text() for text in shown[0].texts]

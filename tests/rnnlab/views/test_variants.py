"""Folding runs over seeds, naming what comes out, and saying in what it differs."""

from pathlib import Path

import pytest

from rnnlab.views.curves import Curves, Point
from rnnlab.views.runs import Run
from rnnlab.views.variants import deviations, group_by_seed, thin


def run(name: str, bpc: float = 2.5, status: str = "done", valid: tuple[int, ...] = (), **bindings: str) -> Run:
    facts = {"valid_bpc": bpc, "parameters": 100}
    points = [Point(at, at / 10, bpc) for at in valid]
    return Run(name, Path(name), status, 1, bindings, facts, {"BPC": Curves(points)})


def test_runs_of_one_configuration_are_one_variant() -> None:
    variants = group_by_seed([run("a/seed-1"), run("b/seed-1", memory="1"), run("a/seed-2", 2.7)])
    assert [(variant.name, len(variant.runs)) for variant in variants] == [("a", 2), ("b", 1)]
    interval = variants[0].interval("valid_bpc")
    assert interval is not None
    assert interval.mean == pytest.approx(2.6)
    assert interval.count == 2


@pytest.mark.parametrize(
    ("names", "shared"),
    [
        (["gru/seed-1", "gru/seed-2"], "gru"),
        (["gru_seed1", "gru_seed2"], "gru"),
        (["gru-1", "gru-2"], "gru"),
        (["gru/seed-1-0a1b2c3d", "gru/seed-2-44445555"], "gru"),
        (["cells/gru/1", "cells/gru/2"], "cells/gru"),
        (["1", "2"], "1 and 1 more"),
        (["x7f", "9ab"], "x7f and 1 more"),
    ],
)
def test_a_variant_is_called_what_the_names_of_its_runs_share(names: list[str], shared: str) -> None:
    assert group_by_seed([run(name) for name in names])[0].name == shared


def test_runs_that_are_not_folded_keep_their_whole_names() -> None:
    assert [v.name for v in group_by_seed([run("long-5000"), run("short-512", memory="1")])] == [
        "long-5000",
        "short-512",
    ]


def test_two_variants_never_share_a_name() -> None:
    variants = group_by_seed([run("a/1"), run("a/2"), run("a/3", memory="1"), run("a/4", memory="1")])
    assert [variant.name for variant in variants] == ["a #1", "a #2"]


def test_means_leave_out_runs_that_are_not_done() -> None:
    (variant,) = group_by_seed([run("a/1", 2.5), run("a/2", 9.0, "diverged"), run("a/3", 4.0, "unfinished")])
    assert variant.mean("valid_bpc") == 2.5
    interval = variant.interval("valid_bpc")
    assert interval is not None
    assert interval.count == 1
    assert variant.interval("test_bpc") is None


def test_a_variant_without_a_finished_run_still_has_costs_but_no_result() -> None:
    (variant,) = group_by_seed([run("a/1", status="stopped"), run("a/2", status="unfinished")])
    assert variant.interval("valid_bpc") is None
    assert variant.mean("parameters") == 100


def test_the_mean_curve_covers_what_all_seeds_have_seen() -> None:
    (variant,) = group_by_seed([run("a/1", 2.0, valid=(10, 20, 30)), run("a/2", 3.0, valid=(10, 20)), run("a/3")])
    assert variant.mean_curve("BPC") == [Point(10, 1.0, 2.5), Point(20, 2.0, 2.5)]
    assert group_by_seed([run("a")])[0].mean_curve("BPC") == []


def test_a_variant_lists_only_what_a_majority_does_not_share() -> None:
    found: dict[str, list[str | None]] = {"core": ["LSTM", "LSTM", "GRU"], "memory": ["1", None, "2"]}
    assert deviations(found, 0) == ("memory = 1",)
    assert deviations(found, 1) == ("memory is not bound",)
    assert deviations(found, 2) == ("core = GRU", "memory = 2")
    assert deviations({"core": ["LSTM", "GRU", None], "memory": ["1", "1", None]}, 2) == (
        "core is not bound",
        "memory is not bound",
    )
    assert deviations({"core": ["LSTM", "GRU"], "memory": ["1", None]}, 1) == ("core = GRU",)


def test_of_two_variants_both_list_what_differs() -> None:
    assert deviations({"core": ["LSTM", "GRU"]}, 0) == ("core = LSTM",)


def test_thinning_keeps_the_end_and_the_mean() -> None:
    points = [Point(i, i / 2, float(i % 2)) for i in range(1, 1001)]
    few = thin(points, 50)
    assert len(few) == 50
    assert few[-1].bytes == 1000
    assert all(point.value == 0.5 for point in few)
    assert thin(points[:50], 50) == points[:50]


def test_the_mean_curve_on_a_task_is_over_evaluations_since_seeds_draw_lengths_of_their_own() -> None:
    def on_task(name: str, *points: tuple[int, float]) -> Run:
        curves = Curves([Point(at, at / 10, accuracy) for at, accuracy in points])
        return Run(name, Path(name), "done", 1, {}, {"task": {"name": "Parity"}}, {"accuracy": curves})

    (variant,) = group_by_seed([on_task("a/1", (10, 0.5), (20, 1.0), (29, 1.0)), on_task("a/2", (12, 0.7), (22, 0.6))])
    assert variant.mean_curve("accuracy") == [Point(11, 1.1, 0.6), Point(21, 2.1, 0.8)]

"""What runs are called, in tables and in TensorBoard: by variant and seed, and never by a hash."""

from pathlib import Path

import pytest

from rnnlab.views.naming import in_a_row, name_runs, readable, with_names
from rnnlab.views.runs import Run, read_run
from rnnlab.views.variants import group_by_seed
from tests.rnnlab.run_folders import write_run


def cell(study: Path, variant: str, seed: int, name: str | None = None, **bindings: str) -> Run:
    """A run as a study leaves it: a folder with a hash, and what the study calls it in environment.json."""
    study.mkdir(parents=True, exist_ok=True)
    (study / "study.gin").write_text("Ablation.seeds = 2\n")
    folder = study / "cells" / variant.replace(" ", "-") / f"seed-{seed}-0a1b2c{seed:02d}"
    write_run(folder, seed, figures={"variant": f"{variant} ({name or study.name})"}, **bindings)
    return read_run(folder, folder.name)


def test_the_runs_of_a_study_are_called_by_variant_and_seed(tmp_path: Path) -> None:
    study = tmp_path / "dropout"
    runs = [cell(study, name, seed, dropout=name[-3:]) for name in ("p 0.1", "p 0.2") for seed in (1, 2)]
    named = with_names(runs)
    assert [run.name for run in named] == ["p 0.1/seed-1", "p 0.1/seed-2", "p 0.2/seed-1", "p 0.2/seed-2"]
    assert [variant.name for variant in group_by_seed(named)] == ["p 0.1", "p 0.2"]


def test_one_run_of_a_study_is_called_by_variant_and_seed_as_well(tmp_path: Path) -> None:
    (run,) = with_names([cell(tmp_path / "study", "lstm", 3)])
    assert run.name == "lstm/seed-3"
    assert group_by_seed([run])[0].name == "lstm"


def test_of_several_studies_the_name_says_which(tmp_path: Path) -> None:
    runs = [cell(tmp_path / "a", "lstm", 1), cell(tmp_path / "b", "gru", 1, memory="1")]
    named = with_names(runs)
    assert [run.name for run in named] == ["a/lstm/seed-1", "b/gru/seed-1"]
    assert [variant.name for variant in group_by_seed(named)] == ["lstm (a)", "gru (b)"]


def test_a_configuration_that_two_studies_share_has_both_names(tmp_path: Path) -> None:
    runs = [cell(tmp_path / "a", "baseline", 1), cell(tmp_path / "b", "lstm", 2)]
    (variant,) = group_by_seed(with_names(runs))
    assert variant.name == "baseline (a) = lstm (b)"


def test_a_configuration_that_one_study_calls_by_two_names_is_two_variants(tmp_path: Path) -> None:
    """A trial was chosen for its score with the search's seed, which the mean over fresh seeds must not hold."""
    study = tmp_path / "search"
    runs = [cell(study, "trial 8", 1), *(cell(study, "trial 8, fresh seeds", seed) for seed in (2, 3))]
    variants = group_by_seed(with_names(runs))
    assert [(variant.name, len(variant.runs)) for variant in variants] == [("trial 8", 1), ("trial 8, fresh seeds", 2)]


def test_a_study_keeps_its_name_when_its_folder_moves(tmp_path: Path) -> None:
    run = cell(tmp_path / "moved", "lstm", 1, name="before")
    (tmp_path / "moved" / "study.name").write_text("before\n")
    other = cell(tmp_path / "other", "lstm", 1, memory="1")
    assert [one.name for one in with_names([run, other])] == ["before/lstm/seed-1", "other/lstm/seed-1"]


def test_cells_of_before_and_of_now_are_numbered(tmp_path: Path) -> None:
    now, before = cell(tmp_path / "s", "lstm", 1), cell(tmp_path / "t", "lstm", 1, name="s", memory="1")
    (tmp_path / "t" / "study.name").write_text("s\n")
    assert [run.name for run in with_names([now, before])] == ["lstm/seed-1 #1", "lstm/seed-1 #2"]


def test_a_name_leads_nowhere_else_and_plain_runs_are_called_after_their_folders(tmp_path: Path) -> None:
    hostile = read_run(write_run(tmp_path / "x", figures={"variant": "../../up\x1b[31m"}), "x")
    plain = read_run(write_run(tmp_path / "mine", memory="1"), "mine")
    named = with_names([hostile, plain])
    assert named[0].name == "-..-up/seed-1"
    assert named[1].name == "mine"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/cells/x/seed-1-0123abcd", "b/cells/x/seed-12-4567abcd"], ["a/x/seed-1", "b/x/seed-12"]),
        (["cells/x/seed-1-0123abcd", "cells/x/seed-1-4567abcd"], ["x/seed-1 #1", "x/seed-1 #2"]),
        (["x/seed-1-0123abcd/late"], ["x/seed-1/late"]),
    ],
)
def test_names_lose_what_a_study_adds_and_stay_apart(names: list[str], expected: list[str]) -> None:
    assert readable(names) == expected


def test_names_are_paths_below_the_common_folder(tmp_path: Path) -> None:
    assert name_runs([tmp_path / "s" / "a" / "1", tmp_path / "s" / "b" / "1"]) == ["a/1", "b/1"]
    assert name_runs([tmp_path / "only"]) == ["only"]


def test_names_in_a_sentence_are_told_apart() -> None:
    assert in_a_row(["gru", "qrnn + memory 16"]) == "gru, qrnn + memory 16"
    assert in_a_row(["gru, none", "qrnn"]) == "gru, none; qrnn"

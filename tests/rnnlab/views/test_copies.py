"""A run counts once, however often it is given."""

import json
import shutil
from pathlib import Path

from rnnlab.views.compare import compare
from rnnlab.views.intervals import Interval
from tests.rnnlab.run_folders import write_run


def study(folder: Path, seeds: tuple[int, ...]) -> Path:
    for seed in seeds:
        write_run(folder / "cells" / "lstm" / f"seed-{seed}", seed)
    return folder


def test_two_studies_that_share_a_configuration_have_as_many_seeds_as_there_are(tmp_path: Path) -> None:
    """Seen: 6 seeds and half the interval, where there are 4."""
    alone = compare([study(tmp_path / "alone", (1, 2, 3, 4))])
    both = compare([study(tmp_path / "a", (1, 2, 3)), study(tmp_path / "b", (2, 3, 4))])
    intervals = [found.tables[0].rows[0]["valid_bpc"] for found in (alone, both)]
    assert isinstance(intervals[0], Interval)
    assert intervals[0] == intervals[1]
    assert len(both.runs) == 4
    told = "2 copies are left out, with the same configuration, seed and result: b/lstm/seed-2 is a/lstm/seed-2"
    assert [told in note for note in both.tables[0].notes].count(True) == 1


def test_a_copy_on_another_machine_is_a_copy_though_it_took_longer(tmp_path: Path) -> None:
    fast = write_run(tmp_path / "fast")
    slow = write_run(tmp_path / "slow", bytes_per_second=900.0)
    assert len(compare([fast, slow]).runs) == 1


def test_different_results_of_one_configuration_and_seed_are_both_shown_and_told(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a", bpc=2.6), write_run(tmp_path / "b", bpc=2.7)]
    found = compare(runs)
    assert len(found.runs) == 2
    assert "The same configuration and seed, but different results: a, b; all are shown and counted." in "".join(
        found.tables[0].notes
    )


def test_a_run_that_has_not_ended_is_no_copy(tmp_path: Path) -> None:
    done = write_run(tmp_path / "done")
    shutil.copytree(done, tmp_path / "going")
    (tmp_path / "going" / "result.json").unlink()
    found = compare([done, tmp_path / "going"])
    assert len(found.runs) == 2
    assert found.tables[0].rows[0]["seeds"] == "1 of 2"


def test_another_seed_with_the_same_result_is_no_copy(tmp_path: Path) -> None:
    first, second = write_run(tmp_path / "a", 1), write_run(tmp_path / "b", 2)
    result = json.loads((first / "result.json").read_text())
    (second / "result.json").write_text(json.dumps({**result, "seed": 2}))
    assert len(compare([first, second]).runs) == 2

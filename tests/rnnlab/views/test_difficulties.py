"""The test of runs on a task, by difficulty."""

import csv
import io
import json
from typing import Any

import pytest

from rnnlab.views import tables
from rnnlab.views.difficulties import TaskTest, stems, task_tests
from rnnlab.views.intervals import Interval


def facts(
    accuracies: dict[int, float | None], task: str = "Parity", word: str = "length", chance: float = 0.5, **more: Any
) -> dict[str, Any]:
    rows = [{word: at, "accuracy": value, "chance": chance, "seen": 0.0} for at, value in accuracies.items()]
    return {"task": {"name": task, "difficulty": word, "trained": [3, 40]}, "test_by": rows, **more}


def test_of_two_seeds_there_is_a_mean_with_its_interval() -> None:
    (test,) = task_tests({"lstm": [facts({40: 1.0, 64: 0.8}), facts({40: 0.9, 64: 0.8})]})
    interval = test.accuracy("lstm", 40)
    assert interval is not None
    assert (interval.mean, interval.count) == (pytest.approx(0.95), 2)
    assert test.accuracy("lstm", 64) == Interval(0.8, 0.8, 0.8, 2)


def test_difficulties_are_the_union_over_the_runs_and_what_is_missing_is_blank() -> None:
    (test,) = task_tests({"a": [facts({64: 0.5, 40: 0.6})], "b": [facts({256: None, 40: 0.7})]})
    assert test.difficulties == [40, 64, 256]
    rows = test.table().rows
    assert rows[0]["length_256"] is None
    assert rows[1]["length_64"] is None
    assert rows[1]["length_256"] is None, "what is not finite is null in a result"


def test_runs_on_text_and_runs_that_were_not_tested_are_left_out() -> None:
    untested = facts({})
    assert task_tests({"text": [{"test_bpc": 2.0}], "begun": [untested]}) == []


def test_the_hardest_that_was_trained_is_told_from_what_was_tested_beyond() -> None:
    (test,) = task_tests({"a": [facts({20: 1.0, 40: 1.0, 256: 0.5})]})
    assert test.trained == (3, 40)
    assert test.hardest_trained == 40
    (unknown,) = task_tests({"a": [facts({20: 1.0, 40: 1.0}) | {"task": {"name": "Parity", "difficulty": "length"}}]})
    assert unknown.trained is None
    assert unknown.hardest_trained == 20


def test_chance_is_a_row_of_its_own_unless_runs_do_not_agree_in_it() -> None:
    (test,) = task_tests({"a": [facts({40: 1.0})], "b": [facts({40: 0.9})]})
    assert test.table().rows[-1] == {"variant": "chance", "length_40": Interval(0.5, None, None, 0)}
    (apart,) = task_tests({"a": [facts({40: 1.0})], "b": [facts({40: 0.9}, chance=0.25)]})
    assert [row["variant"] for row in apart.table().rows] == ["a", "b"]
    assert "Chance is not the same" in " ".join(apart.table().notes)


def test_what_training_has_read_of_the_test_is_said() -> None:
    result = facts({3: 1.0, 40: 1.0})
    result["test_by"][0]["seen"] = 0.62
    (test,) = task_tests({"a": [result]})
    assert "Test examples that training has read as well: 62% at 3." in test.table().notes


def test_all_five_formats_tell_the_same() -> None:
    (test,) = task_tests({"lstm": [facts({40: 1.0}), facts({40: 0.9})]})
    table = test.table()
    (row, chance) = csv.DictReader(io.StringIO(tables.to_csv(table)))
    assert (float(row["length_40"]), float(chance["length_40"])) == (pytest.approx(0.95), 0.5)
    assert json.loads(tables.to_json(table))["rows"][0]["length_40"]["count"] == 2
    for write in (tables.to_text, tables.to_markdown, tables.to_latex):
        assert "Length 40" in write(table)
        assert "0.950" in write(table)


def test_files_are_called_after_the_difficulty_and_after_the_task_only_where_needed() -> None:
    def named(*tasks: tuple[str, str]) -> list[str]:
        return stems([TaskTest(task, word, {}) for task, word in tasks])

    assert named(("Parity", "length")) == ["by_length"]
    assert named(("Parity", "length"), ("Recall", "pairs")) == ["by_length", "by_pairs"]
    assert named(("Parity", "length"), ("SelectiveCopy", "length")) == ["by_length_parity", "by_length_selective_copy"]


def test_a_reach_that_seeds_do_not_share_is_none() -> None:
    (test,) = task_tests({"a": [facts({40: 1.0}, reach=63)], "b": [facts({40: 1.0}, reach=None)]})
    assert (test.reach("a"), test.reach("b")) == (63, None)
